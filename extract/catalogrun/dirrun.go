package catalogrun

import (
	"context"
	"errors"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
)

// dirRun is one run over one boot directory.
type dirRun struct {
	cat     *catalog.Catalog
	opts    Options
	report  *Report
	dir     string
	entries []*catalog.Entry

	session *extract.Session
	boot    *bootdir.Dir // of the session
	state   *State
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
func (s *dirRun) run(ctx context.Context) {
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
func (s *dirRun) work(ctx context.Context) error {
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
func (s *dirRun) open(ctx context.Context) error {
	o := s.opts.Options
	o.Dir = s.dir
	const first, most = 100 * time.Millisecond, 2 * time.Second
	for wait := first; ; wait = min(2*wait, most) {
		var err error
		s.session, err = extract.Open(ctx, o)
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
func (s *dirRun) close() {
	for _, a := range s.answers {
		if a.src != nil {
			a.src.Close()
		}
	}
}

// fail notes a failure and tells of it at once. it is nil for what is about the
// whole directory.
func (s *dirRun) fail(ctx context.Context, it *item, err error) {
	now := s.opts.Now().UTC()
	f := extract.NewFailure(err)
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
	if hooks != nil && !s.opts.DryRun && f.Kind != extract.FailInterrupted {
		hooks.Failed(ctx, f)
	}
}

// remember writes what the next run should know. complete says that the run was
// not ended early.
func (s *dirRun) remember(complete bool) error {
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
