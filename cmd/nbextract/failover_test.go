package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// blobMirror gives the blobs of a registry, some of them wrong.
type blobMirror struct {
	*httptest.Server
	mu    sync.Mutex
	seen  []string
	spoil func(n int, b []byte) []byte // of the n-th answer; nil: as they are
	down  bool
}

func newBlobMirror(t *testing.T, of http.Handler) *blobMirror {
	m := &blobMirror{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.seen = append(m.seen, r.Method+" "+r.URL.Path)
		n, spoil, down := len(m.seen), m.spoil, m.down
		m.mu.Unlock()
		if !strings.Contains(r.URL.Path, "/blobs/") {
			t.Errorf("a mirror was asked for %s", r.URL.Path)
		}
		if down {
			panic(http.ErrAbortHandler)
		}
		if spoil != nil {
			w = &writes{w, func(b []byte) []byte { return spoil(n, append([]byte(nil), b...)) }}
		}
		of.ServeHTTP(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// asked counts the requests since the last call.
func (m *blobMirror) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.seen = nil }()
	return len(m.seen)
}

func (m *blobMirror) set(down bool, spoil func(n int, b []byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down, m.spoil = down, spoil
}

// flip makes one byte of each piece wrong.
func flip(_ int, b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

// TestMirrors lays a tree out and updates it over mirrors that do not do what they
// should: the bytes are right, and whoever lied is named and not asked again.
func TestMirrors(t *testing.T) {
	nbpack := nbpackPath(t)
	for _, test := range []struct {
		name string
		down bool
		lie  func(n int, b []byte) []byte
		said string
	}{
		{name: "good"},
		{name: "down", down: true},
		{name: "lies", lie: flip, said: "gave wrong content"},
		{name: "cut short", lie: func(_ int, b []byte) []byte { return b[:len(b)/2] }},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFaulty(t)
			first, second := newBlobMirror(t, f.inner), newBlobMirror(t, f.inner)
			home := 0
			var mu sync.Mutex
			tree, change := deltaTree(t, 3<<20)
			boot, dry := t.TempDir(), t.TempDir()
			pull := func(what, boot string, more ...string) {
				t.Helper()
				first.set(test.down, test.lie)
				args := append([]string{"pull", "--json", "--tls-verify=false", "--mirror", first.URL, "--mirror", second.URL, f.ref(), "-d", boot}, more...)
				code, _, errs := nbextract(t, args...)
				if code != 0 {
					t.Fatalf("%s: exit %d\n%s", what, code, errs)
				}
				if test.said != "" && !strings.Contains(errs, test.said) || test.said == "" && strings.Contains(errs, "warning") {
					t.Errorf("%s: %s", what, errs)
				}
				asked := first.asked()
				if second := second.asked(); (second == 0) != (test.name == "good") {
					t.Errorf("%s: %d requests to the first mirror, %d to the second", what, asked, second)
				}
				if len(more) == 0 {
					sameTree(t, tree, filepath.Join(boot, "d/1/amd64"))
				}
			}
			build(t, nbpack, tree, f.ref())
			noBlobs := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				mu.Lock()
				defer mu.Unlock()
				home++
				w.WriteHeader(http.StatusForbidden)
			}
			f.set(noBlobs)
			pull("dry run", dry, "--dry-run")
			pull("everything", boot)
			note := filepath.Join(boot, ".nbextract/mirrors.json")
			if b, err := os.ReadFile(note); err != nil || !strings.Contains(string(b), first.URL) {
				t.Errorf("nothing is remembered: %q, %v", b, err)
			}
			if _, err := os.Stat(filepath.Join(dry, ".nbextract")); err == nil {
				t.Error("a dry run remembers")
			}
			f.set(nil)
			change()
			build(t, nbpack, tree, f.ref())
			f.set(noBlobs)
			if err := os.Remove(note); err != nil {
				t.Fatal(err)
			}
			pull("an update", boot)
			if home != 0 {
				t.Errorf("%d blobs came from the registry", home)
			}
			// The next run knows.
			f.set(nil)
			change()
			build(t, nbpack, tree, f.ref())
			if test.said != "" || test.down {
				code, _, errs := nbextract(t, "pull", "--tls-verify=false", "--mirror", first.URL, f.ref(), "-d", boot)
				if code != 0 || first.asked() != 0 {
					t.Errorf("exit %d, the mirror was asked again: %s", code, errs)
				}
			}
		})
	}
}

// TestMirrorsOfACatalogue: sync and fetch know them, too.
func TestMirrorsOfACatalogue(t *testing.T) {
	nbpack, f := nbpackPath(t), newFaulty(t)
	m := newBlobMirror(t, f.inner)
	tree, _ := deltaTree(t, 1<<20)
	build(t, nbpack, tree, f.ref())
	dir := t.TempDir()
	host := strings.TrimPrefix(f.URL, "http://")
	file := filepath.Join(dir, "catalog.yaml")
	save(t, dir, "catalog.yaml", fmt.Appendf(nil, "destination: %s\ntls-verify: false\nmirrors: {%q: [%q]}\nmirror-order: nearest\nimages: [{ref: %q}]\n",
		filepath.Join(dir, "boot"), host, m.URL+"/some/where", host+"/netboot:v"))
	must(t, "sync", "--check", "-c", file)
	must(t, "sync", "-c", file)
	// Nothing is there: it lies below another path on this mirror.
	if n := m.asked(); n == 0 {
		t.Error("the mirror was not asked")
	}
	sameTree(t, tree, filepath.Join(dir, "boot/d/1/amd64"))
	for _, args := range [][]string{
		{"pull", "--mirror", "m.example", "-d", dir, f.ref()},
		{"pull", "--mirror-order", "fastest", "-d", dir, f.ref()},
		{"fetch", "--mirror", "https://user:pass@m.example", "-o", "x", f.ref()},
		{"sync", "--mirror", "ftp://m.example", "-c", file},
	} {
		if code, _, errs := nbextract(t, args...); code != 2 || strings.Contains(errs, "user:pass") {
			t.Errorf("%v: exit %d\n%s", args, code, errs)
		}
	}
}
