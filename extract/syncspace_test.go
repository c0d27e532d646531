//go:build linux

package extract

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSyncNoRoom: where not all fits, no tree is begun, though some would fit, and
// what is there stays. It needs the right to mount.
func TestSyncNoRoom(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	s.dir = filepath.Join(s.dir, "small")
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", s.dir, "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(s.dir, 0) })
	reg.push("a", "v1", boot{version: "1"})
	text := "- {repository: " + reg.host() + "/a, tags: 'v*'}\n"
	s.must(text)
	reg.push("a", "v1", boot{version: "1", files: map[string]string{"vmlinuz": "new"}})
	reg.push("a", "v2", boot{version: "2", files: stored(1500 << 10)})
	reg.push("a", "v3", boot{version: "3", files: stored(1500<<10 + 1)})
	reg.asked()
	r, err := s.run(text)
	var sum *SyncError
	if !errors.As(err, &sum) || sum.ExitCode() != 1 || r.Changed != 0 || r.Failures[0].Kind != FailSpace {
		t.Fatalf("%v %+v", err, r.Failures)
	}
	if list, err := Verify(t.Context(), s.dir); err != nil || len(list) != 1 || problems(list) {
		t.Errorf("%v %+v", err, list)
	}
}

// stored is a file of so many bytes that do not compress: what a layer takes is
// then known from the size of its blob.
func stored(n int) map[string]string {
	b := make([]byte, n)
	x := uint32(n)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return map[string]string{"vmlinuz": string(b)}
}
