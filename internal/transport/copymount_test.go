package transport

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// mounting is a registry that mounts blobs, as the in-process one does not.
func mounting(f *fakeRegistry, f2 *forest, repo string, answer int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		id := digest.Digest(r.URL.Query().Get("mount"))
		if r.Method != http.MethodPost || id == "" {
			return false
		}
		b, ok := f2.bytes[id]
		if !ok || r.URL.Query().Get("from") != repo || answer != http.StatusCreated {
			w.WriteHeader(answer)
			return true
		}
		// The content is one for all repositories here; it only has to be there.
		in, _ := http.NewRequest(http.MethodPost, strings.TrimSuffix(r.URL.Path, "/")+"/?digest="+id.String(), bytes.NewReader(b))
		in.Header.Set("Content-Type", "application/octet-stream")
		f.inner.ServeHTTP(w, in)
		return true
	}
}

func TestCopyMounts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer int // to a mount
		sent   bool
	}{
		{"mounts", 201, false},
		{"refuses", 403, true},
		{"does not know how", 400, true},
		{"has no such method", 405, true},
	} {
		c := testClient(t, insecure(Options{}))
		f := newForest(t)
		d := f.mixed(false)
		reg := newFake(t, false)
		if err := copyTo(t, c, f.layout(d), openRepository(t, c, reg.host()+"/a/b")); err != nil {
			t.Fatal(err)
		}
		// The in-process registry has one store for all repositories, so that
		// nothing would ever be missing in the second one.
		missing := map[string]bool{}
		for id := range f.bytes {
			if typeOf(f.bytes[id]) == "" {
				missing["/v2/c/blobs/"+id.String()] = true
			}
		}
		mount := mounting(reg, f, "a/b", tt.answer)
		reg.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodHead && missing[r.URL.Path] {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			return mount(w, r)
		})
		if err := copyTo(t, c, reg.host()+"/a/b:v1", openRepository(t, c, reg.host()+"/c")); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		sent := slices.ContainsFunc(reg.requests(), func(s string) bool { return strings.HasPrefix(s, "PUT /v2/c/blobs/") })
		if sent != tt.sent {
			t.Errorf("%s: sent content: %v\n%s", tt.name, sent, strings.Join(reg.requests(), "\n"))
		}
		reg.setFault(nil)
		f.check(c, reg.host()+"/c:v1", d)
	}
}

// TestMountScope: mounting asks for the right to read the other repository,
// and nothing else does.
func TestMountScope(t *testing.T) {
	f := newForest(t)
	d := f.mixed(false)
	reg := newFake(t, false)
	c := testClient(t, insecure(Options{}))
	if err := copyTo(t, c, f.layout(d), openRepository(t, c, reg.host()+"/a")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	asked := map[string]bool{}
	tokens := tokenServer(t, reg, func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked[strings.Join(r.URL.Query()["scope"], " ")] = true
		return true
	})
	bearer := wantBearer(tokens.URL)
	reg.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		return bearer(w, r) || times(any30, "HEAD /v2/b/blobs", status(404))(w, r)
	})
	c = testClient(t, insecure(Options{}))
	if err := copyTo(t, c, reg.host()+"/a:v1", openRepository(t, c, reg.host()+"/b")); err != nil {
		t.Fatal(err)
	}
	want := []string{"repository:a:pull", "repository:b:pull", "repository:b:pull,push", "repository:b:pull,push repository:a:pull"}
	if got := slices.Sorted(maps.Keys(asked)); !slices.Equal(got, want) {
		t.Errorf("asked for %q", got)
	}
}

// TestMountFrom: the caller knows where a blob is.
func TestMountFrom(t *testing.T) {
	c := testClient(t, insecure(Options{}))
	f := newForest(t)
	d := f.mixed(false)
	reg := newFake(t, false)
	reg.setFault(mounting(reg, f, "b/c", http.StatusCreated))
	var mu sync.Mutex
	asked := 0
	err := openRepository(t, c, reg.host()+"/r").CopyWith(t.Context(), openSource(t, c, f.layout(d)), d, CopyOptions{MountFrom: func(digest.Digest) string {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return "b/c"
	}})
	if err != nil || asked == 0 {
		t.Fatal(asked, err)
	}
	for _, r := range reg.requests() {
		if strings.HasPrefix(r, "PUT /v2/r/blobs/") {
			t.Errorf("sent: %s", r)
		}
	}
}
