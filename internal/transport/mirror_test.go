package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

// mirrorServer gives one blob as a handler does, and keeps what it was asked.
type mirrorServer struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newMirror(t testing.TB, serve http.HandlerFunc) *mirrorServer {
	m := &mirrorServer{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.seen = append(m.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
		m.mu.Unlock()
		if r.Header.Get("Authorization") != "" {
			t.Errorf("the mirror was sent credentials")
		}
		serve(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mirrorServer) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.seen)
}

// flipped gives ranges of the content with one wrong byte.
func flipped(content []byte, at int) http.HandlerFunc {
	bad := bytes.Clone(content)
	bad[at] ^= 1
	return goodRanges(bad)
}

// locked is a registry that wants a password for everything.
func locked(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "user" || p != "pass" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
			return
		}
		next(w, r)
	}
}

// layerOf reads the blob as a program does that tries again where a mirror lied.
func layerOf(t testing.TB, src Source, im testImage) ([]byte, error) {
	t.Helper()
	for {
		r, err := src.Blob(t.Context(), im.m.Layers[0])
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(r)
		_ = r.Close()
		if !errors.As(err, new(*MirrorError)) {
			return b, err
		}
	}
}

func TestBlobMirrors(t *testing.T) {
	large, small := noise(3<<20), noise(1000)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, tt := range []struct {
		name    string
		content []byte
		mirrors []http.HandlerFunc // nil: nobody listens
		counts  []int              // requests to each
		home    int
		warned  bool
		rest    bool // the first is left alone by the next download
	}{
		{"has it", large, []http.HandlerFunc{goodRanges(large)}, []int{1}, 0, false, false},
		{"has it, second is not asked", large, []http.HandlerFunc{goodRanges(large), goodRanges(large)}, []int{1, 0}, 0, false, false},
		{"dead", large, []http.HandlerFunc{nil, goodRanges(large)}, []int{0, 1}, 0, false, true},
		{"lacks it", large, []http.HandlerFunc{status(404), goodRanges(large)}, []int{1, 1}, 0, false, false},
		{"broken", large, []http.HandlerFunc{status(500)}, []int{1}, 1, false, true},
		{"asks for a password", large, []http.HandlerFunc{status(401, "WWW-Authenticate", `Basic realm="x"`)}, []int{1}, 1, false, true},
		{"asks for a token", large, []http.HandlerFunc{status(401, "WWW-Authenticate", `Bearer realm="https://192.0.2.1/"`)}, []int{1}, 1, false, true},
		{"other length", large, []http.HandlerFunc{goodRanges(large[:1000])}, []int{1}, 1, false, false},
		{"breaks off, the next goes on", large, []http.HandlerFunc{dying(goodRanges(large), 1<<20), goodRanges(large)}, []int{1, 1}, 0, false, true},
		{"breaks off, home goes on", large, []http.HandlerFunc{dying(goodRanges(large), 1<<20)}, []int{1}, 1, false, true},
		{"knows no ranges when it goes on", large, []http.HandlerFunc{dying(goodRanges(large), 1<<20), whole(large)}, []int{1, 1}, 0, false, true},
		{"wrong", large, []http.HandlerFunc{flipped(large, 5), goodRanges(large)}, []int{1, 1}, 0, true, true},
		{"wrong at the end", large, []http.HandlerFunc{flipped(large, len(large)-1)}, []int{1}, 1, true, true},
		{"wrong, small", small, []http.HandlerFunc{flipped(small, 5), goodRanges(small)}, []int{1, 1}, 0, true, true},
		{"wrong and broken, small", small, []http.HandlerFunc{dying(flipped(small, 5), 500), goodRanges(small)}, []int{1, 1}, 1, true, true},
		{"all wrong", large, []http.HandlerFunc{flipped(large, 5), flipped(large, 6)}, []int{1, 1}, 1, true, true},
		{"a page instead", large, []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>log in</html>") }}, []int{1}, 1, false, false},
		{"endless", large, []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}}, []int{1}, 1, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home, im := blobFake(t, tt.content, locked(goodRanges(tt.content)))
			o := insecure(Options{PreferHTTP: yes, Creds: "user:pass", Warn: func(string, ...any) {}})
			warnings := 0
			o.Warn = func(string, ...any) { warnings++ }
			var mirrors []*mirrorServer
			for _, h := range tt.mirrors {
				if h == nil {
					o.BlobMirrors, mirrors = append(o.BlobMirrors, gone.URL), append(mirrors, &mirrorServer{})
					continue
				}
				m := newMirror(t, h)
				o.BlobMirrors, mirrors = append(o.BlobMirrors, m.URL+"/x"), append(mirrors, m)
			}
			client := testClient(t, o)
			src := openSource(t, client, home.host()+"/r:v1")
			if b, err := layerOf(t, src, im); err != nil || !bytes.Equal(b, tt.content) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			for i, m := range mirrors {
				got := m.requests()
				if len(got) != tt.counts[i] {
					t.Errorf("mirror %d: %q", i, got)
				}
				for _, r := range got {
					if !strings.HasPrefix(r, "GET /x/v2/r/blobs/sha256:") {
						t.Errorf("mirror %d was asked for %s", i, r)
					}
				}
			}
			if n := len(home.requests()); n != 2*tt.home { // 401 comes first
				t.Errorf("home: %q", home.requests())
			}
			if (warnings > 0) != tt.warned {
				t.Errorf("%d warnings", warnings)
			}
			if got := !client.health.Usable(o.BlobMirrors[0]) || client.health.Lied(o.BlobMirrors[0], ""); got != tt.rest {
				t.Errorf("first mirror is left alone: %v", got)
			}
			if src.Scheme() == "" && tt.home > 0 {
				t.Error("no scheme")
			}
		})
	}
}

// TestBlobMirrorsNothingElse: tags and manifests come from the registry alone.
func TestBlobMirrorsNothingElse(t *testing.T) {
	f := newFake(t, false)
	im := makeImage(t, "the layer")
	f.put(t, "r", "v1", im)
	m := newMirror(t, f.inner.ServeHTTP)
	src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes, BlobMirrors: []string{m.URL}})), f.host()+"/r:v1")
	d, err := src.Resolve(t.Context())
	if err == nil {
		_, _, err = src.Manifest(t.Context(), d)
	}
	if err != nil || len(m.requests()) != 0 {
		t.Errorf("%q, %v", m.requests(), err)
	}
}

// TestBlobMirrorsByPrefix: URLs among the mirrors of a registry are for blobs only.
func TestBlobMirrorsByPrefix(t *testing.T) {
	f := newFake(t, false)
	im := makeImage(t, "the layer")
	f.put(t, "a/r", "v1", im)
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "the layer") })
	for name, asked := range map[string]int{f.host(): 1, f.host() + "/a": 1, f.host() + "/b": 0} {
		before := len(m.requests())
		src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes, Mirrors: map[string][]string{name: {m.URL + "/blobs"}}})), f.host()+"/a/r:v1")
		if _, err := src.Resolve(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b, err := layerOf(t, src, im); err != nil || string(b) != "the layer" || len(m.requests())-before != asked {
			t.Errorf("%s: %q, %v, %q", name, b, err, m.requests())
		}
	}
}

// TestBlameRegistry: an image that is wrong is no fault of a mirror.
func TestBlameRegistry(t *testing.T) {
	content := noise(2 << 20)
	home, im := blobFake(t, content, goodRanges(content))
	m := newMirror(t, goodRanges(content))
	bad := newMirror(t, flipped(content, len(content)-1))
	for _, url := range []string{m.URL, bad.URL} {
		src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes, BlobMirrors: []string{url}})), home.host()+"/r:v1")
		r, err := src.Blob(t.Context(), im.m.Layers[0])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(r, make([]byte, 100))
		refusal := error(spec.Refuse(spec.RulePath, "x", "no"))
		got := Blame(r, refusal)
		if wrong := errors.As(got, new(*MirrorError)); wrong != (url == bad.URL) || !wrong && got != refusal {
			t.Errorf("%v", got)
		}
		if full := errors.New("disk full"); Blame(r, full) != full {
			t.Error("blamed for something else")
		}
		_ = r.Close()
	}
	if len(home.requests()) != 0 {
		t.Errorf("%q", home.requests())
	}
}
