//go:build linux

package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/testserver"
)

// TestChunksOfAnotherTree: a tree that changed beside another one takes from that
// what they have in common, though no file of it is the same.
func TestChunksOfAnotherTree(t *testing.T) {
	nbpack, host, tree, boot := nbpackPath(t), testserver.Registry(t, ""), t.TempDir(), t.TempDir()
	first, other := "docker://"+host+"/netboot:first", "docker://"+host+"/netboot:other"
	image := incompressible(1, 8<<20)
	save(t, tree, "install.img", image)
	save(t, tree, "shimx64.efi", incompressible(3, 100<<10))
	build(t, nbpack, tree, first)
	pullJSON(t, first, "-d", boot)

	copy(image[4<<20:], "a few other bytes")
	save(t, tree, "install.img", image)
	save(t, tree, "shimx64.efi", incompressible(4, 100<<10))
	build(t, nbpack, tree, other)
	r := pullJSON(t, other, "-d", boot, "--set", "os.name=e")
	if r.Bytes.Fetched > 1<<20 {
		t.Errorf("%d bytes are fetched, though the other tree has nearly all of them", r.Bytes.Fetched)
	}
	sameTree(t, tree, filepath.Join(boot, "e/1/amd64"))
	if code, _, errs := nbextract(t, "verify", "-d", boot); code != 0 {
		t.Errorf("verify: exit %d\n%s", code, errs)
	}
}

// watchedResponse does something once so many bytes were sent.
type watchedResponse struct {
	http.ResponseWriter
	left int
	then func()
}

func (w *watchedResponse) Write(p []byte) (int, error) {
	if w.left > 0 && w.left <= len(p) {
		w.then()
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// TestDiskFillsInMidPull: the room that was there when the pull asked for it is
// taken by somebody else while the payload comes. What is live stays as it was, and
// with room the next pull brings the rest. It needs the right to mount.
func TestDiskFillsInMidPull(t *testing.T) {
	nbpack, tree, boot := nbpackPath(t), t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", boot, "tmpfs", 0, "size=12m,mode=755"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(boot, 0) })
	var thief atomic.Bool
	filler := filepath.Join(boot, "somebody-else")
	handler := registry.New()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if thief.Load() {
			// When a megabyte of the payload is on its way, which no table has.
			w = &watchedResponse{ResponseWriter: w, left: 1 << 20, then: func() {
				_ = os.WriteFile(filler, make([]byte, 16<<20), 0o600)
			}}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	ref, live := "docker://"+strings.TrimPrefix(server.URL, "http://")+"/netboot:v", filepath.Join(boot, "d/1/amd64")

	old := t.TempDir()
	save(t, old, "vmlinuz", incompressible(1, 1<<20))
	save(t, old, "shimx64.efi", incompressible(3, 100<<10))
	build(t, nbpack, old, ref)
	pullJSON(t, ref, "-d", boot)

	save(t, tree, "vmlinuz", incompressible(2, 4<<20))
	save(t, tree, "shimx64.efi", incompressible(3, 100<<10))
	build(t, nbpack, tree, ref)
	thief.Store(true)
	code, _, errs := nbextract(t, "pull", "--tls-verify=false", ref, "-d", boot)
	if code != 1 || !strings.Contains(errs, "space") {
		t.Errorf("a full disk: exit %d\n%s", code, errs)
	}
	sameTree(t, old, live)
	if _, err := os.Stat(filler); err != nil {
		t.Fatalf("the disk was not full: %v", err)
	}

	thief.Store(false)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	pullJSON(t, ref, "-d", boot)
	sameTree(t, tree, live)
	if code, _, errs := nbextract(t, "verify", "-d", boot); code != 0 {
		t.Errorf("verify: exit %d\n%s", code, errs)
	}
}
