package extract

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/config"
	"github.com/nbpack/nbpack/internal/transport"
)

// Defaults of a catalogue.
const (
	defaultConcurrency = 8
	defaultPruneShare  = catalog.Share(50)
)

// SyncOptions are what holds for a whole run. Of Options those count that are
// not a matter of the catalogue: DryRun, Checksum, AllowGap, Now, Log, Warn and
// Progress.
type SyncOptions struct {
	Options
	// Client gives the client for entries with this tls-verify (nil: not said).
	// Entries share it, and with it connections and tokens; the caller closes it.
	Client func(tlsVerify *bool) (*transport.Client, error)
	// Prune removes trees that left the catalogue, as prune: true does there.
	Prune bool
	// Force removes them also where too many left at once.
	Force bool
	// Wait waits for another run to end, instead of failing.
	Wait bool
	// MaxAge is how long references may stand still of entries that do not say; 0:
	// without end.
	MaxAge time.Duration
	// MakeHooks makes the hooks of an entry; nil: a catalogue with hooks is
	// refused.
	MakeHooks func(*catalog.Hooks) (Hooks, error)
	// Sleep waits between looks at the lock; nil: a real wait.
	Sleep func(ctx context.Context, d time.Duration) error
}

// CheckCatalog tells what of a catalogue this program cannot do, beyond what
// catalog.Read has checked. Errors have lines and exit code 2.
func CheckCatalog(entries []catalog.Entry, o SyncOptions) error {
	var errs config.Errors
	for _, e := range entries {
		if err := checkTrust(&e, o); err != nil {
			errs = append(errs, err)
		}
		if e.Hooks != nil && o.MakeHooks == nil {
			errs = append(errs, e.At("hooks").Errorf("hooks cannot be run here"))
		}
		if e.Menu != nil {
			if err := CheckMenuEntry(menuEntryOf(e.Menu)); err != nil {
				errs = append(errs, e.At("menu").Errorf("%v", err))
			}
		}
		if err := (Options{Layouts: e.Layout, Live: bootdir.LiveMode(e.Live)}).CheckLayouts(); err != nil {
			errs = append(errs, e.At("layout").Errorf("%v", err))
		}
		for _, wish := range []struct{ key, owner, modes, label string }{
			{key: "chown", owner: e.Chown}, {key: "chmod", modes: e.Chmod}, {key: "selinux-label", label: e.SELinuxLabel},
		} {
			if _, err := bootdir.ParseAttributes(wish.owner, wish.modes, wish.label); err != nil {
				errs = append(errs, e.At(wish.key).Errorf("%v", err))
			}
		}
	}
	slices.SortStableFunc(errs, func(a, b *config.Error) int { return a.Line - b.Line })
	return errs.Err()
}

// Sync brings the trees of a catalogue up to date: first all references are
// resolved, their paths and the space on the disk are checked, then the trees
// follow one after another, each committed alone. What fails does not stop the
// others, and its trees stay as they are.
//
// The report is never nil. The error is of type *SyncError, or tells that
// nothing was begun.
func Sync(ctx context.Context, c *catalog.Catalog, entries []catalog.Entry, o SyncOptions) (*SyncReport, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	r := &SyncReport{
		Catalog: c.Name, Started: o.Now().UTC(), DryRun: o.DryRun,
		Trees: []SyncTree{}, Failures: []*Failure{}, Skipped: []Skipped{}, Left: []LeftTree{}, Stale: []StaleTree{},
	}
	if err := CheckCatalog(entries, o); err != nil {
		return r, err
	}
	var err error
	if o.Menus, err = CatalogMenus(c); err != nil {
		return r, err
	}
	clients := map[*transport.Client]bool{}
	o.Client = counted(o.Client, clients)
	if c.Hooks != nil {
		if o.Hooks, err = o.MakeHooks(c.Hooks); err != nil {
			return r, err
		}
	}
	for _, dir := range catalog.Destinations(entries) {
		s := &syncRun{cat: c, opts: o, report: r, dir: dir, breaker: newBreaker(), answers: map[string]*answer{}, named: map[string]bool{}}
		for i := range entries {
			if filepath.Clean(entries[i].Destination) == dir {
				s.entries = append(s.entries, &entries[i])
			}
		}
		s.run(ctx)
	}
	r.Finished = o.Now().UTC()
	for c := range clients {
		u := c.Usage()
		r.Requests, r.Fetched = r.Requests+u.Requests, r.Fetched+u.Bytes
	}
	if len(r.Failures) == 0 {
		return r, nil
	}
	return r, &SyncError{Failures: r.Failures, Total: r.References}
}

// counted remembers which clients were used.
func counted(client func(*bool) (*transport.Client, error), used map[*transport.Client]bool) func(*bool) (*transport.Client, error) {
	var mu sync.Mutex
	return func(tlsVerify *bool) (*transport.Client, error) {
		mu.Lock()
		defer mu.Unlock()
		c, err := client(tlsVerify)
		if err == nil {
			used[c] = true
		}
		return c, err
	}
}

// sleep waits for d, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// syncRun is one run over one boot directory.
type syncRun struct {
	cat     *catalog.Catalog
	opts    SyncOptions
	report  *SyncReport
	dir     string
	entries []*catalog.Entry

	session *Session
	boot    *bootdir.Dir // of the session
	state   *SyncState
	breaker *breaker
	answers map[string]*answer // by client and reference
	items   []*item
	named   map[string]bool // keys of all items
	// partial says that the list of items is not known to be whole: nothing is
	// removed then.
	partial bool
	failed  bool
}

// run does everything for one boot directory.
func (s *syncRun) run(ctx context.Context) {
	err := s.open(ctx)
	if err != nil {
		s.fail(ctx, nil, err)
		return
	}
	defer s.session.Close()
	defer s.close()
	s.boot = s.session.Dir()
	if s.state, err = openState(s.boot, s.opts.Warn); err != nil {
		s.fail(ctx, nil, err)
		return
	}
	err = s.work(ctx)
	if err != nil {
		s.fail(ctx, nil, err)
	}
	if err := s.remember(err == nil); err != nil {
		s.fail(ctx, nil, err)
	}
}

// work is what is done with the lock held. Its error ended it; failures of
// single references do not.
func (s *syncRun) work(ctx context.Context) error {
	steps := []func(context.Context) error{
		s.expand, s.resolveAll, s.considerAll, s.refuseClashes, s.checkSpace, s.install, s.settle, s.writeMenus, s.tell, s.retain, s.prune,
	}
	for _, step := range steps {
		if err := errors.Join(step(ctx), ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// open takes the lock, in time.
func (s *syncRun) open(ctx context.Context) error {
	o := s.opts.Options
	o.Dir = s.dir
	const first, most = 100 * time.Millisecond, 2 * time.Second
	for wait := first; ; wait = min(2*wait, most) {
		var err error
		s.session, err = Open(ctx, o)
		var locked *bootdir.LockedError
		if err == nil || !s.opts.Wait || !errors.As(err, &locked) {
			return err
		}
		if wait == first {
			s.opts.Log("waiting for another run to leave %q", s.dir)
		}
		if err := s.opts.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// close releases the sources.
func (s *syncRun) close() {
	for _, a := range s.answers {
		if a.src != nil {
			a.src.Close()
		}
	}
}

// fail notes a failure and tells of it at once. it is nil for what is about the
// whole directory.
func (s *syncRun) fail(ctx context.Context, it *item, err error) {
	now := s.opts.Now().UTC()
	f := NewFailure(err)
	f.Destination, f.Since = s.dir, now
	hooks := s.opts.Hooks
	if it != nil {
		f.Reference, f.Release = it.ref.String(), it.release
		it.failed = true
		hooks = it.opts.Hooks
		if s.state != nil {
			s.state.reference(it.key(), s.cat.Name).failed(f, now)
		}
	}
	s.failed = true
	s.report.Failures = append(s.report.Failures, f)
	since := ""
	if f.Since.Before(now) {
		since = "; it fails since " + f.Since.Format("2006-01-02 15:04 MST")
	}
	if it != nil {
		s.opts.Warn("%s: %s%s", it.name(), f.Message, since)
	} else {
		s.opts.Warn("%s: %s", s.dir, f.Message)
	}
	if hooks != nil && !s.opts.DryRun && f.Kind != FailInterrupted {
		hooks.Failed(ctx, f)
	}
}

// remember writes what the next run should know. complete says that the run was
// not ended early.
func (s *syncRun) remember(complete bool) error {
	if s.opts.DryRun {
		return nil
	}
	now := s.opts.Now().UTC()
	run := s.state.Runs[s.cat.Name]
	run.Last = now
	if complete && !s.failed {
		run.Succeeded = now
	}
	s.state.Runs[s.cat.Name] = run
	if complete && !s.partial {
		s.state.forget(s.cat.Name, s.named, now)
	}
	return s.boot.SetNote(stateNote, s.state)
}
