package mirror

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

// A run that ends before any of its changes leaves tags that lead to all they
// need, the old or the new; boot files of one kind; and the next run completes it.
// Each cut costs some syncs, so that every fifth has to do unless
// NBPACK_TEST_EVERY_CUT is set.
func TestCut(t *testing.T) {
	errCut := errors.New("the power is gone")
	stride := 5
	if os.Getenv("NBPACK_TEST_EVERY_CUT") != "" {
		stride = 1
	}
	for n, done := 1, false; !done; n += stride {
		h := newHarness(t)
		old := map[string]digest.Digest{
			"a:v": h.index("a", "v", map[string]string{"amd64": "one", "arm64": "two"}).Digest,
			"b:v": h.artifact("b", "v", "os", map[string]string{"shim.efi": "shim", "kernel": "kernel one"}).Digest,
			"c:v": h.image("c", "v", "goes").Digest,
		}
		h.mustRun(nil, "a:v", "b:v", "c:v")
		index := h.index("a", "v", map[string]string{"amd64": "one", "arm64": "three"})
		h.referrer("a", index, "note")
		changed := map[string]digest.Digest{
			"a:v": index.Digest,
			"b:v": h.artifact("b", "v", "os", map[string]string{"shim.efi": "shim", "kernel": "kernel two"}).Digest,
			"d:v": h.image("d", "v", "comes").Digest,
		}
		prune := func(o *Options) { o.Prune, o.Grace, o.Jobs = true, -1, 1 }

		var mu sync.Mutex
		left := n
		_, err := h.runWith(func(r *run) {
			r.step = func() error {
				mu.Lock()
				defer mu.Unlock()
				if left--; left <= 0 {
					return errCut
				}
				return nil
			}
		}, prune, "a:v", "b:v", "d:v")
		done = err == nil
		if done && n < 50 {
			t.Fatalf("after %d changes there was nothing left to do", n)
		}
		for name, d := range checkTree(t, h.dir, false) {
			if d != old[name] && d != changed[name] {
				t.Errorf("cut at %d: %s names %s", n, name, d)
			}
		}
		checkBoot(t, h.dir, "one", "two")
		h.mustRun(prune, "a:v", "b:v", "d:v")
		if got := h.check(); !maps.Equal(got, changed) {
			t.Errorf("cut at %d, then: %v, want %v", n, got, changed)
		}
		checkBoot(t, h.dir, "two")
		for _, content := range []string{"goes", "two", "kernel one"} {
			if h.exists(mirrortree.Blob(digest.FromString(content))) {
				t.Errorf("cut at %d: %q is still there", n, content)
			}
		}
		if rest, err := os.ReadDir(filepath.Join(h.dir, partialDir)); err != nil || len(rest) > 0 {
			t.Errorf("cut at %d: %v, %v", n, rest, err)
		}
		if t.Failed() {
			return
		}
	}
}

// checkBoot proves that the boot files are hard links of blobs and of one of these
// sets.
func checkBoot(t *testing.T, dir string, sets ...string) {
	t.Helper()
	boot := filepath.Join(dir, "boot/os/1/amd64")
	kernel, err := os.ReadFile(filepath.Join(boot, "kernel"))
	if err != nil {
		t.Error(err)
	}
	for _, set := range sets {
		if string(kernel) != "kernel "+set {
			continue
		}
		for name, content := range map[string]string{"kernel": "kernel " + set, "shim.efi": "shim", "BOOT": "shim", "BOOT.efi": "shim"} {
			a, err1 := os.Stat(filepath.Join(boot, name))
			b, err2 := os.Stat(filepath.Join(dir, mirrortree.Blob(digest.FromString(content))))
			if err := errors.Join(err1, err2); err != nil || !os.SameFile(a, b) {
				t.Errorf("%s is no hard link of its blob: %v", name, err)
			}
		}
		if entries, _ := os.ReadDir(boot); len(entries) != 4 {
			t.Errorf("%d boot files", len(entries))
		}
		return
	}
	t.Errorf("the kernel is %q", kernel)
}
