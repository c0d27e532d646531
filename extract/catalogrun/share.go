package catalogrun

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
)

// mayRemove decides for the whole run: a registry that lists nothing, or a
// catalogue that lost half of its lines, must not empty a boot server. Nor may one
// that loses a little more before each run: what was removed in the grace time
// before this run counts as if it left now.
func (s *dirRun) mayRemove(ctx context.Context, left, total int) bool {
	if left == 0 || !s.cat.Prune && !s.opts.Prune {
		return false
	}
	gone := s.removedLately()
	share := s.cat.PruneShare.Or(defaultPruneShare)
	if s.opts.Force || (left+gone)*100 <= (total+gone)*int(share) {
		return true
	}
	earlier := ""
	if gone > 0 {
		earlier = fmt.Sprintf(" and %d were removed since %s", gone, s.shareBegins().Format("2006-01-02 15:04 MST"))
	}
	s.fail(ctx, nil, &retentionError{fmt.Errorf("%d of the %d trees of this catalogue left it%s, more than %d%%, so none is removed", left, total, earlier, share)})
	return false
}

// retentionError is a doubt about the catalogue.
type retentionError struct{ error }

func (e *retentionError) FailureKind() extract.FailureKind { return extract.FailRetention }
func (e *retentionError) Hint() string {
	return "if that is meant, run once with --prune --force"
}

// shareBegins is when the stretch of time began of which prune-share is one.
func (s *dirRun) shareBegins() time.Time {
	return s.opts.Now().UTC().Add(-max(s.cat.Grace.Or(bootdir.DefaultGrace), bootdir.DefaultGrace))
}

// removedLately counts the trees that were removed in that time, and forgets the
// others. A time to come was noted under a clock that was wrong.
func (s *dirRun) removedLately() int {
	begin, now := s.shareBegins(), s.opts.Now().UTC()
	times := slices.DeleteFunc(s.state.Removed[s.cat.Name], func(t time.Time) bool { return !t.After(begin) })
	for i, t := range times {
		if t.After(now) {
			times[i] = now
		}
	}
	if s.state.Removed[s.cat.Name] = times; len(times) == 0 {
		delete(s.state.Removed, s.cat.Name)
	}
	return len(times)
}

// noteRemoved remembers that a tree went; what was forced is no matter of doubt.
func (s *dirRun) noteRemoved() {
	if !s.opts.Force {
		s.state.Removed[s.cat.Name] = append(s.state.Removed[s.cat.Name], s.opts.Now().UTC())
	}
}
