package front

import (
	"context"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

func wantState(t *testing.T, when string, m *mirror, want string) {
	t.Helper()
	if s := m.status(); s.State != want {
		t.Errorf("%s: %s (%s), want %s", when, s.State, s.Why, want)
	}
}

// TestCrawl follows a mirror through what can happen to it.
func TestCrawl(t *testing.T) {
	tt := newTree(t)
	_, layers := tt.image("netboot", "v1", noise(1, 3<<20), noise(2, 5000))
	web := newFileMirror(t, tt.copyOf())
	c, mirrors, pass := newTestCrawler(t, tt, 100, web.URL)
	m, ctx := mirrors[0], t.Context()
	visit := func(when, want string) {
		t.Helper()
		c.visit(ctx, m)
		wantState(t, when, m, want)
	}
	visit("at first", stateUp)
	if s := m.status(); s.Blobs != 4 || s.Seconds <= 0 {
		t.Errorf("%+v", s)
	}
	web.asked()
	visit("a probe", stateUp)
	if asked := web.asked(); len(asked) != 1 || asked[0][:4] != "HEAD" {
		t.Errorf("a probe asks %q", asked)
	}

	// It goes down between two looks, and comes back.
	web.set(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true })
	visit("503", stateDown)
	visit("503 again", stateDown)
	web.set(nil)
	visit("after 503", stateUp)
	web.set(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	visit("broken connections", stateDown)
	web.set(nil)
	visit("after them", stateUp)

	// A new blob is found by a probe, and one that is missing for long is too old.
	late := tt.blob(noise(3, 100))
	visit("a new blob", stateUp)
	if _, ok := m.serves(netip.MustParseAddr("192.0.2.1"), late.Digest); ok {
		t.Error("it has what it cannot have")
	}
	old := c.now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(tt.dir, mirrortree.Blob(late.Digest)), old, old); err != nil {
		t.Fatal(err)
	}
	c.tree.changed = nil // times alone are no change that is looked for
	pass(time.Hour)
	visit("a look at a stale mirror", stateStale)
	visit("a probe of a stale mirror", stateStale)
	m.Partial = true
	pass(time.Hour)
	visit("a mirror that may lack something", stateUp)
	m.Partial = false

	// The copy arrives.
	if err := os.WriteFile(filepath.Join(web.dir, mirrortree.Blob(late.Digest)), noise(3, 100), 0o644); err != nil {
		t.Fatal(err)
	}
	pass(time.Hour)
	visit("the copy is there", stateUp)

	// One blob is damaged: everybody keeps away, until it was right twice.
	flip(t, web.dir, layers[1].Digest)
	pass(time.Hour)
	visit("a wrong blob", stateWrong)
	visit("a probe of a wrong mirror", stateWrong)
	web.set(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true })
	visit("a wrong mirror that is down, too", stateWrong)
	web.set(nil)
	flip(t, web.dir, layers[1].Digest)
	pass(time.Hour)
	visit("right once", stateWrong)
	pass(time.Hour)
	visit("right twice", stateUp)
}

// TestCrawlOwnDamage: where the tree is wrong, no mirror is accused.
func TestCrawlOwnDamage(t *testing.T) {
	tt := newTree(t)
	_, layers := tt.image("netboot", "v1", noise(2, 5000))
	web := newFileMirror(t, tt.copyOf())
	flip(t, tt.dir, layers[0].Digest)
	c, mirrors, _ := newTestCrawler(t, tt, 100, web.URL)
	warned := 0
	c.warn = func(string, ...any) { warned++ }
	c.visit(t.Context(), mirrors[0])
	wantState(t, "own damage", mirrors[0], stateUp)
	if warned != 1 {
		t.Errorf("%d warnings", warned)
	}
}

// TestCrawlUnanswered: a mirror that has no answer for one blob does not say that it
// lacks it.
func TestCrawlUnanswered(t *testing.T) {
	tt := newTree(t)
	_, layers := tt.image("netboot", "v1", noise(1, 5000))
	d := layers[0].Digest
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(tt.dir, mirrortree.Blob(d)), old, old); err != nil {
		t.Fatal(err)
	}
	web := newFileMirror(t, tt.copyOf())
	for code, want := range map[int]string{http.StatusServiceUnavailable: stateUp, http.StatusNotFound: stateStale} {
		web.set(func(w http.ResponseWriter, r *http.Request) bool {
			if filepath.Base(r.URL.Path) != d.Encoded() {
				return false
			}
			w.WriteHeader(code)
			return true
		})
		c, mirrors, _ := newTestCrawler(t, tt, 100, web.URL)
		c.visit(t.Context(), mirrors[0])
		wantState(t, http.StatusText(code), mirrors[0], want)
		if mirrors[0].has[d] {
			t.Errorf("%d: clients are sent there", code)
		}
	}
}

// TestProvedEnds: who stops while the tree's own copy is read does not call it damaged.
func TestProvedEnds(t *testing.T) {
	tt := newTree(t)
	d := tt.blob(noise(1, 5000)).Digest
	c, _, _ := newTestCrawler(t, tt, 1, "http://192.0.2.1")
	if right, err := c.proved(t.Context(), d); err != nil || !right {
		t.Errorf("%v, %v", right, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.proved(ctx, d); err == nil {
		t.Error("it goes on")
	}
}

// TestCompare: all ways to give a blob in another way.
func TestCompare(t *testing.T) {
	content := noise(4, 3<<20)
	for _, test := range []struct {
		name  string
		spoil func(w http.ResponseWriter, r *http.Request) bool
		want  string
	}{
		{"right", nil, stateUp},
		{"no ranges", func(w http.ResponseWriter, r *http.Request) bool { r.Header.Del("Range"); return false }, stateUp},
		{"longer", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				_, _ = w.Write(append(content[:len(content):len(content)], 'x'))
				return true
			}
			return false
		}, stateUp}, // samples see its beginning; its HEAD would tell
		{"a page", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				_, _ = w.Write([]byte("<html>"))
			}
			return r.Method == http.MethodGet
		}, stateWrong},
		{"breaks off", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Length", "1048576")
				w.WriteHeader(200)
				_, _ = w.Write(content[:1000])
				panic(http.ErrAbortHandler)
			}
			return false
		}, stateDown},
		{"other part", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Range", "bytes 77777777-88888888/99999999")
				w.WriteHeader(http.StatusPartialContent)
			}
			return r.Method == http.MethodGet
		}, stateDown},
		{"leads elsewhere", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://localhost:1/", http.StatusFound)
			return true
		}, stateDown},
		{"all of other length", func(w http.ResponseWriter, r *http.Request) bool { return r.Method == http.MethodHead }, stateUp}, // a copy that has nothing yet
	} {
		t.Run(test.name, func(t *testing.T) {
			tt := newTree(t)
			tt.blob(content)
			web := newFileMirror(t, tt.copyOf())
			web.set(test.spoil)
			c, mirrors, _ := newTestCrawler(t, tt, 1, web.URL)
			c.visit(t.Context(), mirrors[0])
			wantState(t, test.name, mirrors[0], test.want)
		})
	}
}

// TestDoubt: what a client asks for again is compared as a whole.
func TestDoubt(t *testing.T) {
	tt := newTree(t)
	_, layers := tt.image("netboot", "v1", noise(2, 3<<20))
	web := newFileMirror(t, tt.copyOf())
	c, mirrors, _ := newTestCrawler(t, tt, 1, web.URL)
	m := mirrors[0]
	flip(t, web.dir, layers[0].Digest)
	m.become(stateUp, "", c.now())
	changed := make(chan struct{}, 1)
	c.warn = func(string, ...any) { changed <- struct{}{} }
	for range 1000 {
		c.doubt(m, layers[0].Digest)
		c.doubt(m, digest.FromString("not in the tree"))
	}
	if len(m.doubts.queue) != 2 {
		t.Errorf("%d doubts", len(m.doubts.queue))
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { c.clear(ctx, m); close(done) }()
	<-changed
	cancel()
	<-done
	wantState(t, "a doubt", m, stateWrong)
}

// TestDoubtTime: a blob that takes too long leaves the mirror as it is, and makes room
// for the next one.
func TestDoubtTime(t *testing.T) {
	tt := newTree(t)
	_, layers := tt.image("netboot", "v1", noise(1, 5000), noise(2, 5000))
	web := newFileMirror(t, tt.copyOf())
	web.set(func(_ http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, layers[0].Digest.Encoded()) {
			return false
		}
		<-r.Context().Done()
		return true
	})
	c, mirrors, _ := newTestCrawler(t, tt, 1, web.URL)
	c.o.Timeout, c.doubtTime = Duration(time.Hour), time.Millisecond
	m := mirrors[0]
	m.become(stateUp, "", c.now())
	c.clearOne(t.Context(), m, layers[0].Digest)
	wantState(t, "a long doubt", m, stateUp)
	flip(t, web.dir, layers[1].Digest)
	c.doubtTime = time.Hour
	c.clearOne(t.Context(), m, layers[1].Digest)
	wantState(t, "the next", m, stateWrong)
}
