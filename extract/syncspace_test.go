//go:build linux

package extract

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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

// TestPullNoRoomAsksLittle: an image whose only layer holds SHA256SUM and the payload
// is not fetched where it does not fit, be its size declared or in its tables.
func TestPullNoRoomAsksLittle(t *testing.T) {
	for name, b := range map[string]boot{
		"declared":   {chunked: true},
		"tables":     {chunked: true, silent: true},
		"compressed": {},
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := newShelf(t), filepath.Join(t.TempDir(), "small")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=755"); err != nil {
				t.Skipf("cannot mount a small file system here: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
			b.version, b.single, b.files = "1", true, stored(3<<20)
			if b.chunked { // which compresses well, so that the blob would fit
				b.files["vmlinuz"] = strings.Repeat(b.files["vmlinuz"][:1<<20+1<<18], 3)
			}
			reg.push("a", "v1", b)
			var whole atomic.Int64 // blobs that were asked for without a range
			reg.breaks(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && r.Header.Get("Range") == "" {
					whole.Add(1)
				}
				return false
			})
			r, err := pull(t, dir, reg, "a:v1", Options{})
			if !errors.Is(err, unix.ENOSPC) || len(r.Trees) > 0 {
				t.Fatalf("%v %+v", err, r)
			}
			if n := whole.Load(); n != 1 { // the configuration
				t.Errorf("%d whole blobs were asked for", n)
			}
		})
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

// TestSyncNoRoomAsksLittle: to find out that there is no room, no payload is read
// where the list of files lies in the same layer.
func TestSyncNoRoomAsksLittle(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	s.dir = filepath.Join(s.dir, "small")
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", s.dir, "tmpfs", 0, "size=2m,mode=755"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	mounted := s.dir
	t.Cleanup(func() { _ = unix.Unmount(mounted, 0) })
	reg.push("a", "v1", boot{version: "1", single: true, files: stored(3 << 20)})
	text := "- {repository: " + reg.host() + "/a, tags: 'v*'}\n"
	reg.asked()
	r, err := s.run(text)
	if err == nil || r.Failures[0].Kind != FailSpace || r.Fetched > 1<<20 {
		t.Errorf("%v %+v, %d bytes read", err, r.Failures, r.Fetched)
	}
	// What is on the disk may be most of it: only its own turn can tell.
	s.dir = filepath.Join(s.dir, "deeper")
	reg.push("a", "v1", boot{version: "1", single: true, files: stored(1200 << 10)})
	s.must(text)
	more := stored(1200 << 10)
	more["menu"] = "x"
	reg.push("a", "v1", boot{version: "1", single: true, files: more})
	if r := s.must(text); r.Changed != 1 || r.Fetched > 2<<20 {
		t.Errorf("%d changed, %d bytes read", r.Changed, r.Fetched)
	}
}
