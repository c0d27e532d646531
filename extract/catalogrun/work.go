package catalogrun

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// resolveAll asks what every reference names now.
func (s *dirRun) resolveAll(ctx context.Context) error {
	var list []asking
	for _, it := range s.items {
		if it.release == "" {
			list = append(list, asking{it.answer, it.entry, it.ref})
		}
	}
	return s.askAll(ctx, list)
}

// considerAll finds out which trees follow from the answers.
func (s *dirRun) considerAll(ctx context.Context) error {
	for _, it := range s.items {
		err := s.consider(ctx, it)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			s.fail(ctx, it, err)
		}
	}
	return nil
}

func (s *dirRun) consider(ctx context.Context, it *item) error {
	a := it.answer
	if it.release == "" {
		it.top = a.top
	}
	if a.err != nil {
		var gone *transport.NotFoundError
		if it.found && errors.As(a.err, &gone) {
			return s.considerLost(it, a.err)
		}
		return a.err
	}
	st := s.state.reference(it.key(), s.cat.Name)
	st.sees(it.top.Digest.String(), s.opts.Now().UTC())
	if reason := s.knownSkip(it, st); reason != "" {
		s.skip(it, reason)
		return nil
	}
	var err error
	it.placed, err = s.session.Consider(ctx, it.ref, a.meter, it.top, it.opts)
	if reason := passOver(err); it.found && reason != "" {
		st.Skip, st.Question, st.Twin = reason, it.question(), ""
		s.skip(it, reason)
		return nil
	}
	if err != nil {
		s.breaker.note(it.ref.Host(), err)
	}
	return err
}

// considerLost deals with a tag that is listed and not there. Once, that is a tag
// which went away in this moment. If it stays so, the registry contradicts itself:
// then the trees of the tag are kept, and that they get no updates is a failure.
func (s *dirRun) considerLost(it *item, err error) error {
	st, now := s.state.reference(it.key(), s.cat.Name), s.opts.Now().UTC()
	it.lost = true
	if st.Lost.IsZero() || st.Lost.After(now) {
		st.Lost = now
	} else if has, terr := s.hasTrees(it.ref); terr != nil || has {
		return errors.Join(terr, fmt.Errorf("since %s the list of tags names what is not there: %w", st.Lost.Format("2006-01-02 15:04 MST"), err))
	}
	s.skip(it, "the list of tags names it, and it is not there")
	return nil
}

// hasTrees tells whether there are trees that were made from a reference.
func (s *dirRun) hasTrees(ref transport.Reference) (bool, error) {
	trees, err := s.session.Before()
	for _, t := range trees {
		if t.Reference == ref.String() {
			return true, err
		}
	}
	return false, err
}

// knownSkip tells why an item was passed over the last time, if that holds still.
func (s *dirRun) knownSkip(it *item, st *ReferenceState) string {
	if st.Skip == "" {
		return ""
	}
	if st.Twin == "" {
		if it.found && st.Question == it.question() {
			return st.Skip
		}
		return ""
	}
	for _, other := range s.items {
		if other == it {
			return "" // the order of the catalogue is another one now
		}
		if other.key() == st.Twin && other.top.Digest.String() == st.TwinDigest && !other.failed && !other.skipped &&
			st.Question == it.questionWith(other) {
			it.twin = other
			return st.Skip
		}
	}
	return ""
}

// passOver gives the reason why what a pattern has found is not for this boot
// server, empty if it is, or if that is not known.
func passOver(err error) string {
	var platform *resolve.PlatformError
	var refusal *spec.Refusal
	switch {
	case errors.As(err, &platform) && !platform.Several:
		return platform.Error()
	case errors.As(err, &refusal) && refusal.Rule == spec.RuleBootTree:
		return refusal.Reason
	}
	return ""
}

func (s *dirRun) skip(it *item, reason string) {
	it.skipped = true
	s.report.Skipped = append(s.report.Skipped, Skipped{s.dir, it.ref.String(), it.release, reason})
}

// checkSpace asks for room for all that is going to change. Where there is too little, none
// of it is begun; where that cannot be found out, the work on this boot directory ends.
func (s *dirRun) checkSpace(ctx context.Context) error {
	var coming []*item
	var placements []*extract.Placement
	trees := 0
	for _, it := range s.ready() {
		if n := it.placed.Incoming(); n > 0 {
			coming, placements, trees = append(coming, it), append(placements, it.placed), trees+n
		}
	}
	err := s.session.Room(ctx, placements)
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	s.fail(ctx, nil, fmt.Errorf("no room for the %d trees that are to change, so none is begun: %w", trees, err))
	for _, it := range coming {
		it.failed = true
		s.state.reference(it.key(), s.cat.Name).failed(extract.NewFailure(err), s.opts.Now().UTC())
	}
	return nil
}

// ready lists the items that nothing speaks against.
func (s *dirRun) ready() []*item {
	var items []*item
	for _, it := range s.items {
		if it.placed != nil && !it.failed && !it.skipped {
			items = append(items, it)
		}
	}
	return items
}

// install brings one tree after another up to date.
func (s *dirRun) install(ctx context.Context) error {
	for _, it := range s.ready() {
		for _, step := range it.placed.Steps() {
			err := error(nil)
			if !it.placed.Known() {
				err = s.breaker.open(it.ref.Host())
			}
			if err == nil {
				err = step(ctx)
				s.breaker.note(it.ref.Host(), err)
			}
			if ctx.Err() != nil {
				s.collect(it)
				return ctx.Err()
			}
			if err != nil {
				s.fail(ctx, it, err)
			}
		}
		s.collect(it)
		if !it.failed {
			s.state.reference(it.key(), s.cat.Name).succeeded(s.opts.Now().UTC())
		}
	}
	return nil
}

// settle notes which of the references that were passed over are as they should
// be: one with a twin is when its twin is.
func (s *dirRun) settle(context.Context) error {
	for _, it := range s.items {
		if it.skipped && !it.failed && !it.lost && (it.twin == nil || !it.twin.failed) {
			s.state.reference(it.key(), s.cat.Name).succeeded(s.opts.Now().UTC())
		}
	}
	return nil
}

// collect takes over the reports of an item's trees.
func (s *dirRun) collect(it *item) {
	for _, t := range it.placed.Reports() {
		if t.Changed {
			s.report.Changed++
		} else {
			s.report.Unchanged++
		}
		s.report.Trees = append(s.report.Trees, Tree{
			TreeReport: t, Destination: s.dir, Release: it.release, Moved: s.state.reference(it.key(), s.cat.Name).Moved,
		})
	}
}
