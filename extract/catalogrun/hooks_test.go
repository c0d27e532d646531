package catalogrun

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncHooks: a veto holds one tree back, and each hears what concerns it.
func TestSyncHooks(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "v1", testshelf.Boot{Version: "1"})
	reg.Push("a", "v2", testshelf.Boot{Version: "2"})
	h := &heard{veto: "os/2/amd64"}
	s.opts.MakeHooks = func(*catalog.Hooks) (extract.Hooks, error) { return h, nil }
	text := "- {repository: " + reg.Host() + "/a, tags: 'v*', hooks: {failed: /bin/true}}\n"
	r, err := s.run(text)
	var sum *Error
	if !errors.As(err, &sum) || sum.ExitCode() != 1 || r.Changed != 1 || r.Failures[0].Kind != extract.FailVetoed {
		t.Errorf("%v %+v", err, r)
	}
	want := "pre os/1/amd64 staged, post os/1/amd64, pre os/2/amd64 staged, failed vetoed"
	if got := strings.Join(h.calls, ", "); got != want {
		t.Errorf("%s", got)
	}
	h.veto, h.calls = "", nil
	s.must(text)
	s.must(text)
	if got := strings.Join(h.calls, ", "); got != "pre os/2/amd64 staged, post os/2/amd64" {
		t.Errorf("%s", got)
	}
}

type heard struct {
	veto  string
	calls []string
}

func (h *heard) PreCommit(_ context.Context, c *extract.TreeChange) error {
	call := "pre " + c.Path
	if _, err := os.Stat(filepath.Join(c.Stage, "vmlinuz")); err == nil && c.OldDigest == "" {
		call += " staged"
	}
	h.calls = append(h.calls, call)
	if c.Path == h.veto {
		return errors.New("not today")
	}
	return nil
}

func (h *heard) PostCommit(_ context.Context, c *extract.TreeChange) error {
	h.calls = append(h.calls, "post "+c.Path)
	return nil
}

func (h *heard) Failed(_ context.Context, f *extract.Failure) {
	h.calls = append(h.calls, "failed "+string(f.Kind))
}
