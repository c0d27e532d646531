// Package catalogrun brings the boot trees of a catalogue up to date: many references, of
// which each succeeds or fails by itself. It finds out what the entries name, remembers how
// references did, reports, and removes what left the catalogue. How a tree is laid out is
// package extract's. For those who run it: docs/catalog.md.
package catalogrun

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nbpack/nbpack/extract"
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

// Options are what holds for a whole run. Of extract.Options those count that are
// not a matter of the catalogue: DryRun, Checksum, AllowGap, Now, Log, Warn and
// Progress.
type Options struct {
	extract.Options
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
	MakeHooks func(*catalog.Hooks) (extract.Hooks, error)
	// Sleep waits between looks at the lock; nil: a real wait.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Check tells what of a catalogue this program cannot do, beyond what
// catalog.Read has checked. Errors have lines and exit code 2.
func Check(entries []catalog.Entry, o Options) error {
	var errs config.Errors
	for _, e := range entries {
		if err := checkTrust(&e, o); err != nil {
			errs = append(errs, err)
		}
		if e.Hooks != nil && o.MakeHooks == nil {
			errs = append(errs, e.At("hooks").Errorf("hooks cannot be run here"))
		}
		if e.Menu != nil {
			if err := extract.CheckMenuEntry(menuEntryOf(e.Menu)); err != nil {
				errs = append(errs, e.At("menu").Errorf("%v", err))
			}
		}
		if err := (extract.Options{Layouts: e.Layout, Live: bootdir.LiveMode(e.Live)}).CheckLayouts(); err != nil {
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

// Run brings the trees of a catalogue up to date: first all references are
// resolved, their paths and the space on the disk are checked, then the trees
// follow one after another, each committed alone. What fails does not stop the
// others, and its trees stay as they are.
//
// The report is never nil. The error is of type *Error, or tells that
// nothing was begun.
func Run(ctx context.Context, c *catalog.Catalog, entries []catalog.Entry, o Options) (*Report, error) {
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
	r := &Report{
		Catalog: c.Name, Started: o.Now().UTC(), DryRun: o.DryRun,
		Trees: []Tree{}, Failures: []*extract.Failure{}, Skipped: []Skipped{}, Left: []LeftTree{}, Stale: []StaleTree{},
	}
	if err := Check(entries, o); err != nil {
		return r, err
	}
	var err error
	if o.Menus, err = Menus(c); err != nil {
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
		s := &dirRun{cat: c, opts: o, report: r, dir: dir, breaker: newBreaker(), answers: map[string]*answer{}, named: map[string]bool{}}
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
	return r, &Error{Failures: r.Failures, Total: r.References}
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
