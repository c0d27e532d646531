package catalogrun

import (
	"context"
	"errors"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
)

// records gives the trees as they are recorded now, by live path.
func (s *dirRun) records() (map[string]*bootdir.Tree, error) {
	if s.report.Changed == 0 || s.opts.DryRun {
		return s.session.Before()
	}
	all, err := s.boot.Trees()
	live := map[string]*bootdir.Tree{}
	for i := range all {
		live[all[i].Live] = &all[i]
	}
	return live, err
}

// tell adds to the report what the records know, and warns of references that
// have stood still for too long.
func (s *dirRun) tell(context.Context) error {
	records, err := s.records()
	if err != nil {
		return err
	}
	owner := map[string]*item{}
	for _, it := range s.ready() {
		for live := range it.placed.Lives() {
			owner[live] = it
		}
	}
	for i := range s.report.Trees {
		t := &s.report.Trees[i]
		if rec := records[t.Path]; rec != nil && t.Destination == s.dir {
			t.Created = rec.Created
		}
		it := owner[t.Path]
		if it == nil || t.Destination != s.dir {
			continue
		}
		maxAge := it.entry.MaxAge.Or(s.opts.MaxAge)
		if maxAge == 0 {
			continue
		}
		st := s.state.reference(it.key(), s.cat.Name)
		since := st.standsSince(t.Created)
		if s.opts.Now().Sub(since) <= maxAge {
			continue
		}
		s.report.Stale = append(s.report.Stale, StaleTree{s.dir, t.Path, t.Reference, since.UTC()})
		if !st.mayWarn(s.opts.Now().UTC()) {
			continue
		}
		s.opts.Warn("%s has named the same image since %s, longer than max-age allows", it.name(), since.UTC().Format("2006-01-02"))
	}
	return nil
}

// retain looks for trees that this catalogue made and names no longer, and
// removes them if it may.
func (s *dirRun) retain(ctx context.Context) error {
	records, err := s.records()
	if err != nil {
		return err
	}
	left, total := s.leftTrees()
	if s.partial && len(left) > 0 {
		s.opts.Log("not all entries could be resolved, so no tree counts as having left the catalogue")
		return nil
	}
	now := s.opts.Now().UTC()
	for live := range s.state.Left {
		if t := records[live]; t == nil || t.Catalog == s.cat.Name && !contains(left, live) {
			delete(s.state.Left, live)
		}
	}
	for _, t := range left {
		// A time to come was noted under a clock that was wrong.
		if since := s.state.Left[t.Live]; since.IsZero() || since.After(now) {
			s.state.Left[t.Live] = now
		}
	}
	may := s.mayRemove(ctx, len(left), total)
	for _, t := range left {
		l := LeftTree{Destination: s.dir, Path: t.Live, Reference: t.Reference, Since: s.state.Left[t.Live]}
		l.Reason = s.spared(&t, l.Since, may)
		if l.Reason == "" {
			if err := s.retire(ctx, &t); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				l.Reason = err.Error()
			}
		}
		l.Removed = l.Reason == ""
		s.report.Left = append(s.report.Left, l)
	}
	return nil
}

func contains(trees []bootdir.Tree, live string) bool {
	for _, t := range trees {
		if t.Live == live {
			return true
		}
	}
	return false
}

// leftTrees lists the trees of this catalogue that no item wants, and counts all
// of its trees. A reference that failed, or
// that a list names for nothing, keeps what it has made.
func (s *dirRun) leftTrees() (left []bootdir.Tree, total int) {
	wanted, kept := map[string]bool{}, map[string]bool{}
	for _, it := range s.items {
		if it.placed != nil {
			for live := range it.placed.Lives() {
				wanted[live] = true
			}
		}
		if it.failed || it.lost {
			kept[it.key()] = true
		}
	}
	all, err := s.boot.Trees() // in their order
	if err != nil {
		return nil, 0
	}
	for _, t := range all {
		if t.Catalog != s.cat.Name {
			continue
		}
		total++
		if !wanted[t.Live] && !kept[stateKey(t.Reference, t.Release)] {
			left = append(left, t)
		}
	}
	return left, total
}

// spared gives the reason why a tree that left the catalogue stays for now.
func (s *dirRun) spared(t *bootdir.Tree, since time.Time, may bool) string {
	grace := s.cat.Grace.Or(bootdir.DefaultGrace)
	switch {
	case t.Pinned:
		return "it is pinned by a rollback"
	case !s.cat.Prune && !s.opts.Prune:
		return "sync --prune would remove it"
	case !may:
		return "too many left at once"
	case s.opts.Now().Sub(since) < grace:
		return "it is removed after " + since.Add(grace).Format("2006-01-02 15:04 MST")
	}
	return ""
}

// prune removes generations whose time has come since their tree last changed:
// a commit looks for them, but some trees change once in a year.
func (s *dirRun) prune(ctx context.Context) error {
	if s.opts.DryRun {
		return nil
	}
	records, err := s.records()
	if err != nil {
		return err
	}
	for _, t := range records {
		keep := t.Keep
		if keep == 0 {
			keep = bootdir.DefaultKeep
		}
		for _, g := range t.History[min(keep, len(t.History)):] {
			age := s.opts.Now().Sub(g.Superseded)
			if !t.Pinned && (age >= bootdir.DefaultGrace || age < 0) {
				_, err := s.boot.Prune(ctx, bootdir.DefaultKeep, bootdir.DefaultGrace)
				return err
			}
		}
	}
	return nil
}

// retire removes one tree. That the site keeps files in it, or that machines boot
// from it, is no failure.
func (s *dirRun) retire(ctx context.Context, t *bootdir.Tree) error {
	if s.opts.DryRun {
		return nil
	}
	// No menu names what is not there.
	err := s.menusWithout(t.Live)
	if err == nil {
		err = s.boot.Retire(ctx, t.Live)
	}
	if err != nil && ctx.Err() == nil {
		_ = s.menusWithout() // it stays; the next run tells of what is wrong with a menu
	}
	var occupied *bootdir.OccupiedError
	var held *bootdir.HeldError
	switch {
	case err == nil:
		delete(s.state.Left, t.Live)
		s.noteRemoved()
		s.opts.Log("%s: removed, its reference %q left the catalogue", t.Live, t.Reference)
	case errors.As(err, &occupied):
		s.opts.Warn("%s: %v; %s", t.Live, err, occupied.Hint())
	case errors.As(err, &held): // that ends by itself
	case ctx.Err() == nil:
		s.fail(ctx, nil, err)
	}
	return err
}
