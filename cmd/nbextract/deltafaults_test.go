package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/cli"
)

// faulty is a registry whose answers to requests for blobs a test can spoil.
type faulty struct {
	*httptest.Server
	inner http.Handler // that does what it should
	mu    sync.Mutex
	spoil func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func newFaulty(t *testing.T) *faulty {
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	f := &faulty{inner: handler}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		spoil := f.spoil
		f.mu.Unlock()
		if spoil == nil || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			handler.ServeHTTP(w, r)
			return
		}
		spoil(w, r, handler)
	}))
	f.Config.ErrorLog = nil
	t.Cleanup(f.Close)
	return f
}

func (f *faulty) set(spoil func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil = spoil
}

func (f *faulty) ref() string {
	return "docker://" + strings.TrimPrefix(f.URL, "http://") + "/netboot:v"
}

// writes passes what a handler writes through a function.
type writes struct {
	http.ResponseWriter
	f func(b []byte) []byte
}

func (w *writes) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		piece := b[done:min(done+32<<10, len(b))]
		if _, err := w.ResponseWriter.Write(w.f(piece)); err != nil {
			return done, err
		}
		done += len(piece)
	}
	return len(b), nil
}

// deltaTree is a tree with one large file, in two versions.
func deltaTree(t *testing.T, large int) (dir string, change func()) {
	dir = t.TempDir()
	image := incompressible(1, large)
	save(t, dir, "install.img", image)
	save(t, dir, "shimx64.efi", incompressible(3, 100<<10))
	save(t, dir, "vmlinuz", incompressible(4, 300<<10))
	return dir, func() {
		image = bytes.Clone(image)
		for at := range 5 {
			copy(image[at*large/5+large/10:], incompressible(byte(at+20), 5000))
		}
		save(t, dir, "install.img", image)
		save(t, dir, "shimx64.efi", incompressible(5, 100<<10))
	}
}

// TestDeltaFaults updates a tree from registries, and over disks, that do not do
// what they should: the bytes are right all the same.
func TestDeltaFaults(t *testing.T) {
	nbpack := nbpackPath(t)
	ranged := func(r *http.Request) bool { return r.Header.Get("Range") != "" }
	var served atomic.Int64 // answers to ranges
	for _, test := range []struct {
		name  string
		spoil func(w http.ResponseWriter, r *http.Request, next http.Handler)
		disk  func(t *testing.T, live string)
		whole bool // the blob is fetched as a whole in the end
	}{
		{name: "nothing"},
		{name: "ranges are ignored", whole: true, spoil: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("Range")
			next.ServeHTTP(w, r)
		}},
		{name: "ranges are ignored from the second on", whole: true, spoil: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if ranged(r) {
				if served.Add(1) > 1 {
					r.Header.Del("Range")
				}
			}
			next.ServeHTTP(w, r)
		}},
		{name: "ranges are refused", whole: true, spoil: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if ranged(r) {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			next.ServeHTTP(w, r)
		}},
		{name: "a byte of each part is wrong", whole: true, spoil: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if ranged(r) {
				w = &writes{w, func(b []byte) []byte {
					b = bytes.Clone(b)
					b[len(b)/2] ^= 1
					return b
				}}
			}
			next.ServeHTTP(w, r)
		}},
		{name: "every other answer is cut", spoil: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if served.Add(1)%2 == 0 {
				left := 700
				w = &writes{w, func(b []byte) []byte {
					if left -= len(b); left < 0 {
						panic(http.ErrAbortHandler)
					}
					return b
				}}
			}
			next.ServeHTTP(w, r)
		}},
		{name: "a chunk on the disk is wrong", disk: func(t *testing.T, live string) { damage(t, live, "install.img", 70_000) }},
		{name: "a kept file is wrong", disk: func(t *testing.T, live string) { damage(t, live, "vmlinuz", 100) }},
		{name: "all of the large file is wrong", whole: true, disk: func(t *testing.T, live string) {
			for at := int64(0); at < 4<<20; at += 1000 {
				damage(t, live, "install.img", at)
			}
		}},
		{name: "chunk lists are damaged", whole: true, disk: func(t *testing.T, live string) {
			lists, err := filepath.Glob(filepath.Join(live, "../../../.nbextract/chunks/*"))
			if err != nil || len(lists) == 0 {
				t.Fatalf("chunk lists: %q, %v", lists, err)
			}
			for _, list := range lists {
				if err := os.WriteFile(list, []byte("no list"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
		{name: "chunk lists are gone", whole: true, disk: func(t *testing.T, live string) {
			if err := os.RemoveAll(filepath.Join(live, "../../../.nbextract/chunks")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			const large = 4 << 20
			server, boot := newFaulty(t), t.TempDir()
			live := filepath.Join(boot, "d/1/amd64")
			tree, change := deltaTree(t, large)
			build(t, nbpack, tree, server.ref())
			pullJSON(t, server.ref(), "-d", boot)
			change()
			build(t, nbpack, tree, server.ref())
			if test.disk != nil {
				test.disk(t, live)
			}
			served.Store(0)
			server.set(test.spoil)
			got := pullJSON(t, server.ref(), "-d", boot)
			sameTree(t, tree, live)
			if whole := got.Bytes.Fetched > large; whole != test.whole {
				t.Errorf("fetched %d bytes in %d requests", got.Bytes.Fetched, got.Requests)
			}
			must(t, "verify", "-d", boot)
		})
	}
}

// damage inverts a byte of a live file in place, which every name of it shares.
func damage(t *testing.T, live, name string, at int64) {
	t.Helper()
	name = filepath.Join(live, name)
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

// TestBlobGoneInMidPull has the payload vanish between the tables and the parts, as
// when a tag moves and its old image is removed: the tree stays as it is.
func TestBlobGoneInMidPull(t *testing.T) {
	nbpack, server, boot := nbpackPath(t), newFaulty(t), t.TempDir()
	tree, change := deltaTree(t, 4<<20)
	build(t, nbpack, tree, server.ref())
	pullJSON(t, server.ref(), "-d", boot)
	before := snapshot(t, boot)
	change()
	build(t, nbpack, tree, server.ref())
	var served atomic.Int64
	server.set(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Range") != "" {
			if served.Add(1) > 1 {
				http.NotFound(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
	code, _, errs := nbextract(t, "pull", "--tls-verify=false", server.ref(), "-d", boot)
	if code != 4 && code != 1 {
		t.Errorf("exit %d\n%s", code, errs)
	}
	compare(t, "the tree", withoutPartial(snapshot(t, boot)), before)
	server.set(nil)
	pullJSON(t, server.ref(), "-d", boot)
	sameTree(t, tree, filepath.Join(boot, "d/1/amd64"))
}

func withoutPartial(all map[string]string) map[string]string {
	for name := range all {
		if strings.HasPrefix(name, ".nbextract/partial") {
			delete(all, name)
		}
	}
	return all
}

// TestInterruptedPullGoesOn cuts first installs off in the middle, by Ctrl-C and by
// SIGKILL; the next run fetches what is missing.
func TestInterruptedPullGoesOn(t *testing.T) {
	nbpack := nbpackPath(t)
	const large = 32 << 20
	for _, test := range []struct {
		name, compression string
		kill              bool
	}{
		{"chunked", "zstd:chunked", false},
		{"chunked, killed", "zstd:chunked", true},
		{"gzip", "gzip", false},
		{"gzip, killed", "gzip", true},
		{"plain", "none", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, boot := newFaulty(t), t.TempDir()
			tree := t.TempDir()
			save(t, tree, "install.img", incompressible(1, large))
			save(t, tree, "shimx64.efi", incompressible(2, 1<<20))
			out, err := exec.Command(nbpack, "build", "--tls-verify=false", "--os-name", "d", "--os-version", "1",
				"--platform", "linux/amd64", "--compression", test.compression, tree, server.ref()).CombinedOutput()
			if err != nil {
				t.Fatalf("nbpack build: %v\n%s", err, out)
			}
			args := []string{"pull", "--tls-verify=false", server.ref(), "-d", boot}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cut := cutAfter(large*3/4, cancel)
			server.set(cut)
			if test.kill {
				runAndKill(ctx, t, args)
			} else {
				var stdout, stderr bytes.Buffer
				if code := cli.Run(ctx, app(), args, &stdout, &stderr); code != 130 {
					t.Fatalf("exit %d\n%s", code, stderr.String())
				}
			}
			server.set(nil)
			var report extract.Report
			if err := json.Unmarshal([]byte(must(t, append(args, "--json")...)), &report); err != nil {
				t.Fatal(err)
			}
			got := report.Trees[0]
			t.Logf("%d bytes in %d requests", got.Bytes.Fetched, got.Requests)
			sameTree(t, tree, filepath.Join(boot, "d/1/amd64"))
			// What was on its way, through sockets and to the disk, is lost.
			if got.Bytes.Fetched > large*4/5 {
				t.Errorf("fetched %d bytes again", got.Bytes.Fetched)
			}
			if left, _ := filepath.Glob(filepath.Join(boot, ".nbextract/partial/*")); len(left) > 0 {
				t.Errorf("left %q", left)
			}
		})
	}
}

// cutAfter lets so many bytes of blobs pass, and then calls stop and gives no more.
func cutAfter(n int, stop func()) func(http.ResponseWriter, *http.Request, http.Handler) {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&writes{w, func(b []byte) []byte {
			mu.Lock()
			n -= len(b)
			over := n < 0
			mu.Unlock()
			if over {
				_ = http.NewResponseController(w).Flush()
				stop()
				<-r.Context().Done()
				panic(http.ErrAbortHandler)
			}
			return b
		}}, r)
	}
}

// runAndKill runs the command in a process of its own until ctx ends, which kills it.
func runAndKill(ctx context.Context, t *testing.T, args []string) {
	t.Helper()
	list, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHostileChild$")
	cmd.Env = append(os.Environ(), childArgs+"="+string(list), childFile+"="+filepath.Join(t.TempDir(), "usage"))
	if err := cmd.Run(); err == nil || ctx.Err() == nil {
		t.Fatalf("the process was not killed: %v", err)
	}
}
