package catalogrun

import (
	"context"
	"fmt"
	"path"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
)

// refuseClashes makes one tree of references that want the same at one path, and
// refuses all that want different things there, or one inside another: which of
// them is meant is not for us to guess, so nothing there is touched.
func (s *dirRun) refuseClashes(ctx context.Context) error {
	owners := map[string]*item{}
	clashes := map[*item]error{}
	for _, it := range s.items {
		if it.placed == nil || it.failed {
			continue
		}
		twin, all := (*item)(nil), true
		for live, digest := range it.placed.Lives() {
			other := owners[live]
			if other == nil {
				owners[live], all = it, false
			} else if have := other.placed.Lives()[live]; have == digest {
				twin = other
				it.placed.Leave(live)
			} else {
				err := clashError("%s and %s both belong at %q, with the manifests %s and %s", other.name(), it.name(), live, have, digest)
				clashes[other], clashes[it], all = err, err, false
			}
		}
		if twin != nil && all {
			st := s.state.reference(it.key(), s.cat.Name)
			st.Twin, st.TwinDigest, st.Question = twin.key(), twin.top.Digest.String(), it.questionWith(twin)
			st.Skip = "the same tree as " + twin.name()
			it.twin = twin
			s.skip(it, st.Skip)
		}
	}
	for live, it := range owners {
		for dir := path.Dir(live); live != bootdir.FlatLive; dir = path.Dir(dir) {
			// One image may stand in the whole directory and in others below it.
			if other := owners[dir]; other != nil && (other != it || dir != bootdir.FlatLive) {
				err := clashError("%s belongs at %q, which lies inside %q of %s", it.name(), live, dir, other.name())
				clashes[other], clashes[it] = err, err
			}
			if dir == bootdir.FlatLive {
				break
			}
		}
	}
	for _, it := range s.items {
		if err := clashes[it]; err != nil && !it.skipped {
			s.fail(ctx, it, err)
		}
	}
	return nil
}

// clash is that references of a catalogue get into each other's way.
type clash struct{ error }

func clashError(format string, args ...any) error { return &clash{fmt.Errorf(format, args...)} }

func (*clash) FailureKind() extract.FailureKind { return extract.FailConflict }
func (*clash) Hint() string                     { return "give them paths of their own with layout or set" }
