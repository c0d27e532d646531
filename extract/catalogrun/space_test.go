//go:build linux

package catalogrun

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncNoRoom: where not all fits, no tree is begun, though some would fit, and
// what is there stays. It needs the right to mount.
func TestSyncNoRoom(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	s.dir = filepath.Join(s.dir, "small")
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", s.dir, "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(s.dir, 0) })
	reg.Push("a", "v1", testshelf.Boot{Version: "1"})
	text := "- {repository: " + reg.Host() + "/a, tags: 'v*'}\n"
	s.must(text)
	reg.Push("a", "v1", testshelf.Boot{Version: "1", Files: map[string]string{"vmlinuz": "new"}})
	reg.Push("a", "v2", testshelf.Boot{Version: "2", Files: testshelf.Noise(1500 << 10)})
	reg.Push("a", "v3", testshelf.Boot{Version: "3", Files: testshelf.Noise(1500<<10 + 1)})
	reg.Asked()
	r, err := s.run(text)
	var sum *Error
	if !errors.As(err, &sum) || sum.ExitCode() != 1 || r.Changed != 0 || r.Failures[0].Kind != extract.FailSpace {
		t.Fatalf("%v %+v", err, r.Failures)
	}
	if f := r.Failures[0]; !strings.Contains(f.Message, "no room for the 3 trees that are to change, so none is begun") {
		t.Errorf("%q", f.Message)
	}
	state, err := ReadState(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for key, ref := range state.References {
		if ref.FailingSince.IsZero() || ref.Kind != extract.FailSpace {
			t.Errorf("%s: %+v", key, ref)
		}
	}
	if list, err := extract.Verify(t.Context(), s.dir); err != nil || len(list) != 1 || damaged(list) {
		t.Errorf("%v %+v", err, list)
	}
}

// TestSyncNoRoomAsksLittle: to find out that there is no room, no payload is read
// where the list of files lies in the same layer.
func TestSyncNoRoomAsksLittle(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	s.dir = filepath.Join(s.dir, "small")
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", s.dir, "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	mounted := s.dir
	t.Cleanup(func() { _ = unix.Unmount(mounted, 0) })
	reg.Push("a", "v1", testshelf.Boot{Version: "1", Single: true, Files: testshelf.Noise(3 << 20)})
	text := "- {repository: " + reg.Host() + "/a, tags: 'v*'}\n"
	reg.Asked()
	r, err := s.run(text)
	if err == nil || r.Failures[0].Kind != extract.FailSpace || r.Fetched > 1<<20 {
		t.Errorf("%v %+v, %d bytes read", err, r.Failures, r.Fetched)
	}
	// What is on the disk may be most of it: only its own turn can tell.
	s.dir = filepath.Join(s.dir, "deeper")
	reg.Push("a", "v1", testshelf.Boot{Version: "1", Single: true, Files: testshelf.Noise(1200 << 10)})
	s.must(text)
	more := testshelf.Noise(1200 << 10)
	more["menu"] = "x"
	reg.Push("a", "v1", testshelf.Boot{Version: "1", Single: true, Files: more})
	if r := s.must(text); r.Changed != 1 || r.Fetched > 2<<20 {
		t.Errorf("%d changed, %d bytes read", r.Changed, r.Fetched)
	}
}
