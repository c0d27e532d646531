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

	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestPullNoRoomAsksLittle: an image whose only layer holds SHA256SUM and the payload
// is not fetched where it does not fit, be its size declared or in its tables.
func TestPullNoRoomAsksLittle(t *testing.T) {
	for name, b := range map[string]testshelf.Boot{
		"declared":   {Chunked: true},
		"tables":     {Chunked: true, Silent: true},
		"compressed": {},
	} {
		t.Run(name, func(t *testing.T) {
			reg, dir := testshelf.New(t), filepath.Join(t.TempDir(), "small")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=755"); err != nil {
				t.Skipf("cannot mount a small file system here: %v", err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
			b.Version, b.Single, b.Files = "1", true, testshelf.Noise(3<<20)
			if b.Chunked { // which compresses well, so that the blob would fit
				b.Files["vmlinuz"] = strings.Repeat(b.Files["vmlinuz"][:1<<20+1<<18], 3)
			}
			reg.Push("a", "v1", b)
			var whole atomic.Int64 // blobs that were asked for without a range
			reg.Breaks(func(_ http.ResponseWriter, r *http.Request) bool {
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
