package catalogrun

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/internal/transport"
)

// faulty is a registry whose images are there in two versions, and a good one beside it.
type faulty struct {
	*testshelf.Shelf
	beside *testshelf.Shelf
	s      *syncer
	text   string
	layer  string // path of the blob of the large layer of the new version
	kernel string // content of its large file
}

// newFaulty has the old versions laid out and the new ones offered.
func newFaulty(t *testing.T) *faulty {
	f := &faulty{Shelf: testshelf.New(t), beside: testshelf.New(t), s: newSyncer(t)}
	noise := make([]byte, 300<<10) // does not compress
	chaos := rand.NewChaCha8([32]byte{1})
	_, _ = chaos.Read(noise)
	f.kernel = string(noise)
	f.text = "- {ref: '" + f.Host() + "/a:v'}\n- {ref: '" + f.beside.Host() + "/b:v'}\n"
	f.Push("a", "v", testshelf.Boot{Version: "1"})
	f.beside.Push("b", "v", testshelf.Boot{Version: "2"})
	f.s.must(f.text)
	files := map[string]string{"vmlinuz": f.kernel}
	_, packed := testshelf.Tarball(files)
	f.Push("a", "v", testshelf.Boot{Version: "1", Files: files})
	f.layer = "/v2/a/blobs/" + f.Blob("a", "", packed).Digest.String()
	f.beside.Push("b", "v", testshelf.Boot{Version: "2", Files: map[string]string{"vmlinuz": "new"}})
	return f
}

func (f *faulty) content(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.s.dir, "os/1/amd64/vmlinuz"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer is what the registry would say.
func (f *faulty) answer(r *http.Request) []byte {
	w := httptest.NewRecorder()
	plain := r.Clone(r.Context())
	plain.Header.Del("Range")
	f.Store.ServeHTTP(w, plain)
	return w.Body.Bytes()
}

// cut sends so many bytes of what was asked for, and breaks the connection.
func (f *faulty) cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(&shortWriter{w, n}, r, "", time.Time{}, strings.NewReader(string(f.answer(r))))
		panic(http.ErrAbortHandler)
	}
}

type shortWriter struct {
	http.ResponseWriter
	left int
}

func (w *shortWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.left)
	w.left -= n
	if _, err := w.ResponseWriter.Write(p[:n]); err != nil || n < len(p) {
		w.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// slowWriter sends a byte now and then.
type slowWriter struct {
	http.ResponseWriter
	r *http.Request
}

func (w *slowWriter) Write(p []byte) (int, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range p {
		if _, err := w.ResponseWriter.Write(p[i : i+1]); err != nil || w.r.Context().Err() != nil {
			return i, io.ErrClosedPipe
		}
		w.ResponseWriter.(http.Flusher).Flush()
		<-tick.C
	}
	return len(p), nil
}

func answers(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

func drops(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// silent answers nothing until the other side has enough.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// TestSyncFaults: every fault that passes is survived within one run; every one that does
// not ends in one line, with the tree as it was, and other trees brought up to date.
func TestSyncFaults(t *testing.T) {
	const always = 1 << 30
	layer := func(f *faulty) string { return "GET " + f.layer }
	tag := func(*faulty) string { return "HEAD /v2/a/manifests/v" }
	for name, tc := range map[string]struct {
		times int
		what  func(f *faulty) string // which request
		fault func(f *faulty) http.HandlerFunc
		kind  extract.FailureKind // empty: survived
		says  string
	}{
		"503 four times":         {4, tag, func(*faulty) http.HandlerFunc { return answers(503) }, "", ""},
		"bursts of 5xx on blobs": {4, layer, func(*faulty) http.HandlerFunc { return answers(502) }, "", ""},
		"429, to wait a day":     {4, tag, func(*faulty) http.HandlerFunc { return answers(429, "Retry-After", "86400") }, "", ""},
		"dropped connections":    {4, tag, func(*faulty) http.HandlerFunc { return drops }, "", ""},
		"silence":                {2, tag, func(*faulty) http.HandlerFunc { return silent }, "", ""},
		"silence in the body": {4, layer, func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				defer func() { _ = recover(); <-r.Context().Done() }()
				f.cut(20<<10)(w, r)
			}
		}, "", ""},
		"five broken connections": {5, layer, func(f *faulty) http.HandlerFunc { return f.cut(50 << 10) }, "", ""},
		"a byte at a time": {always, layer, func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				for _, b := range f.answer(r) {
					_, _ = w.Write([]byte{b})
					if b == 0 {
						w.(http.Flusher).Flush()
					}
				}
			}
		}, "", ""},

		"503 for ever":     {always, tag, func(*faulty) http.HandlerFunc { return answers(503) }, extract.FailNetwork, "503"},
		"silence for ever": {always, tag, func(*faulty) http.HandlerFunc { return silent }, extract.FailNetwork, "sent nothing for too long"},
		"a trickle for ever": {always, layer, func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.ServeContent(&slowWriter{w, r}, r, "", time.Time{}, strings.NewReader(string(f.answer(r))))
			}
		}, extract.FailNetwork, "sent nothing for too long"},
		"broken for ever": {always, layer, func(f *faulty) http.HandlerFunc { return f.cut(0) }, extract.FailNetwork, "gave up after 5 breaks"},
		"a flipped byte": {always, layer, func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				b := append([]byte(nil), f.answer(r)...)
				b[len(b)/2] ^= 1
				_, _ = w.Write(b)
			}
		}, extract.FailRefused, ""},
		"endless redirects": {always, layer, func(f *faulty) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Path+"?more="+r.URL.RawQuery, http.StatusTemporaryRedirect)
			}
		}, extract.FailNetwork, "stopped after 10 redirects"},
		"a realm elsewhere": {always, tag, func(f *faulty) http.HandlerFunc {
			return answers(401, "WWW-Authenticate", `Bearer realm="`+f.beside.URL+`/token"`)
		}, extract.FailOther, "token"},
		"no access":           {always, tag, func(*faulty) http.HandlerFunc { return answers(403) }, extract.FailAuth, "denies access"},
		"a blob that is gone": {always, layer, func(*faulty) http.HandlerFunc { return answers(404) }, extract.FailNotFound, "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t)
			f.s.client = func(o *transport.Options) {
				o.Creds = "user:secret"
				if strings.Contains(name, "silence") || strings.Contains(name, "trickle") {
					o.StallTimeout = 400 * time.Millisecond // elsewhere a busy machine would count as a fault
				}
				o.Sleep = func(ctx context.Context, d time.Duration) error {
					if d > time.Minute {
						t.Errorf("waits %s", d)
					}
					return ctx.Err()
				}
			}
			var hits atomic.Int32
			fault := tc.fault(f)
			f.Breaks(func(w http.ResponseWriter, r *http.Request) bool {
				path, _, _ := strings.Cut(tc.what(f), "?")
				if r.Method+" "+r.URL.Path != path || int(hits.Add(1)) > tc.times {
					return false
				}
				fault(w, r)
				return true
			})
			f.Asked()
			r, err := f.s.run(f.text)
			if n := len(f.Asked()); n > 40 {
				t.Errorf("%d requests", n)
			}
			if b, err := os.ReadFile(filepath.Join(f.s.dir, "os/2/amd64/vmlinuz")); err != nil || string(b) != "new" {
				t.Errorf("the other registry's tree: %q, %v", b, err)
			}
			if tc.kind == "" {
				if err != nil || f.content(t) != f.kernel || int(hits.Load()) < min(tc.times, 1) {
					t.Errorf("%v %q after %d faults", err, f.s.warned, hits.Load())
				}
				return
			}
			var sum *Error
			if !errors.As(err, &sum) || len(r.Failures) != 1 || r.Failures[0].Kind != tc.kind || !strings.Contains(r.Failures[0].Message, tc.says) {
				t.Fatalf("%v: %+v", err, r.Failures)
			}
			if strings.Contains(r.Failures[0].Message, "\n") || len(f.s.warned) != 1 {
				t.Errorf("%q, %q", r.Failures[0].Message, f.s.warned)
			}
			if f.content(t) != "kernel of 1amd64" {
				t.Error("the tree changed")
			}
			f.Breaks(nil)
			f.s.must(f.text)
			if f.content(t) != f.kernel {
				t.Error("the next run brings something else")
			}
			if list, err := extract.Verify(t.Context(), f.s.dir); err != nil || damaged(list) {
				t.Errorf("%v %+v", err, list)
			}
			if left, _ := filepath.Glob(filepath.Join(f.s.dir, ".nbextract", "{stage,partial,kept}", "*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// TestSyncResumes: a line that breaks five times costs what is missing, not five
// downloads.
func TestSyncResumes(t *testing.T) {
	f := newFaulty(t)
	hits := 0
	f.Breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != f.layer || hits == 5 {
			return false
		}
		hits++
		f.cut(50<<10)(w, r)
		return true
	})
	r := f.s.must(f.text)
	if hits != 5 || f.content(t) != f.kernel {
		t.Errorf("broken %d times", hits)
	}
	if r.Fetched > int64(len(f.kernel))*11/10 {
		t.Errorf("%d bytes for a layer of %d", r.Fetched, len(f.kernel))
	}
}

// TestSyncRegistryComesBack: one that does not listen when a run begins is waited for
// a while.
func TestSyncRegistryComesBack(t *testing.T) {
	f := newFaulty(t)
	addr := f.Host()
	f.Close()
	waits := 0
	var again *http.Server
	var taken error
	f.s.client = func(o *transport.Options) {
		o.Sleep = func(ctx context.Context, _ time.Duration) error {
			if waits++; waits == 3 {
				var l net.Listener
				if l, taken = net.Listen("tcp", addr); taken != nil {
					return taken
				}
				again = &http.Server{Handler: f.Config.Handler}
				go func() { _ = again.Serve(l) }()
			}
			return ctx.Err()
		}
	}
	_, err := f.s.run(strings.SplitAfter(f.text, "\n")[0])
	if taken != nil {
		t.Skip("the port went to somebody else: ", taken)
	}
	if again != nil {
		defer again.Close()
	}
	if err != nil || waits < 3 || f.content(t) != f.kernel {
		t.Errorf("%v, waited %d times: %q", err, waits, f.s.warned)
	}
}
