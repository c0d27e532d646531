package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/spec"
)

// TestCopy goes from a layout to a registry, on to a second repository, to
// another registry, and back into layouts; not a byte may change.
func TestCopy(t *testing.T) {
	c := testClient(t, insecure(Options{}))
	f := newForest(t)
	d := f.mixed(false)
	one, two := newFake(t, false), newFake(t, false)
	stops := []string{f.layout(d), one.host() + "/first:v1", one.host() + "/deep/second:v1", two.host() + "/first:v1", "oci:" + t.TempDir() + "/new:v1", "oci:" + t.TempDir() + ":v1"}
	for i, to := range stops[1:] {
		r := openRepository(t, c, to)
		if err := copyTo(t, c, stops[i], r); err != nil {
			t.Fatalf("%s to %s: %v", stops[i], to, err)
		}
		f.check(c, to, d)
		if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 1 {
			t.Errorf("%s: tags %q, %v", to, tags, err)
		}
	}
}

// TestCopyWithSHA512: layouts may name content by other hashes.
func TestCopyWithSHA512(t *testing.T) {
	c := testClient(t, Options{})
	f := newForest(t)
	d := f.mixed(true)
	from, to := f.layout(d), "oci:"+t.TempDir()+"/new:v1"
	if err := copyTo(t, c, from, openRepository(t, c, to)); err != nil {
		t.Fatal(err)
	}
	f.check(c, to, d)
	sameTree(t, strings.TrimSuffix(strings.TrimPrefix(to, "oci:"), ":v1"), tree(t, strings.TrimSuffix(strings.TrimPrefix(from, "oci:"), ":v1")))
}

// TestCopyOrder: what refers to something comes after it, and nothing is sent
// that is there.
func TestCopyOrder(t *testing.T) {
	c := testClient(t, insecure(Options{}))
	f := newForest(t)
	d := f.mixed(false)
	from := f.layout(d)
	reg := newFake(t, false)
	to := reg.host() + "/r"
	if err := copyTo(t, c, from, openRepository(t, c, to)); err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i, r := range reg.requests() {
		if method, path, _ := strings.Cut(r, " "); method == http.MethodPut {
			name := path[strings.LastIndexByte(path, '/')+1:]
			if _, twice := at[name]; twice {
				t.Errorf("%s was sent twice", name)
			}
			at[name] = i
		}
	}
	for id, b := range f.bytes {
		mt := typeOf(b)
		if mt == "" {
			continue
		}
		var m ocispec.Index
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		if at[id.String()] == 0 {
			t.Errorf("manifest %s was not sent", id)
		}
		for _, child := range m.Manifests {
			if at[child.Digest.String()] > at[id.String()] {
				t.Errorf("%s came before %s, which it names", id, child.Digest)
			}
		}
	}
	reg.setFault(nil) // forgets the requests
	if err := openRepository(t, c, to).Copy(t.Context(), openSource(t, c, from), d); err != nil {
		t.Fatal(err)
	}
	for _, r := range reg.requests() {
		if !strings.HasPrefix(r, "HEAD ") {
			t.Errorf("the second copy sent %s", r)
		}
	}
}

// TestCopyUploadBreaks: the content is read anew for every try.
func TestCopyUploadBreaks(t *testing.T) {
	c := testClient(t, insecure(Options{}))
	f := newForest(t)
	d := f.mixed(false)
	half := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 1000)
		drop(w, r)
	}
	from := f.layout(d)
	// Once from a file, once from a registry that breaks off, too.
	reg, other := newFake(t, false), newFake(t, false)
	reg.setFault(times(3, "PUT /v2/r/blobs", half))
	if err := copyTo(t, c, from, openRepository(t, c, reg.host()+"/r")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	cuts := 3
	reg.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		b := f.bytes[digest.Digest(filepath.Base(r.URL.Path))]
		mu.Lock()
		cuts--
		cut := cuts >= 0
		mu.Unlock()
		if !cut || len(b) < 2 {
			return false
		}
		serveRange(w, r, b, len(b)/2)
		return true
	})
	other.setFault(times(2, "PUT /v2/r/blobs", half))
	if err := copyTo(t, c, reg.host()+"/r:v1", openRepository(t, c, other.host()+"/r")); err != nil {
		t.Fatal(err)
	}
	other.setFault(nil)
	f.check(c, other.host()+"/r:v1", d)
}

// TestCopyDamaged: content that is not what its digest says goes nowhere.
func TestCopyDamaged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(file string)
	}{
		{"flipped", func(file string) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-1] ^= 1
			write(t, file, string(b))
		}},
		{"shorter", func(file string) {
			if err := os.Truncate(file, 3); err != nil {
				t.Fatal(err)
			}
		}},
		{"missing", func(file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for place, to := range places(t) {
			c := testClient(t, insecure(Options{}))
			f := newForest(t)
			d := f.mixed(false)
			from := f.layout(d)
			tt.damage(filepath.Join(strings.TrimSuffix(strings.TrimPrefix(from, "oci:"), ":v1"), ocilayout.BlobName(digest.FromString("gzip, they say"))))
			err := openRepository(t, c, to).Copy(t.Context(), openSource(t, c, from), d)
			switch {
			case tt.name == "missing":
				wantNotFound(t, err)
			default:
				wantRefusal(t, err, "")
			}
			r := openRepository(t, c, to)
			if _, _, err := r.Get(t.Context(), d.Digest.String()); err == nil {
				t.Errorf("%s, %s: the index was written", tt.name, place)
			}
		}
	}
}

// fakeTree is a source whose indexes are made up as they are asked for. Only
// the code that walks trees sees it.
type fakeTree struct {
	Source
	children func(d digest.Digest) []ocispec.Descriptor
}

func (s fakeTree) Manifest(_ context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": d.MediaType, "manifests": s.children(d.Digest)})
	return b, d.MediaType, err
}

type countingCopier struct{ manifests int }

func (c *countingCopier) blob(context.Context, ocispec.Descriptor) error { return nil }
func (c *countingCopier) manifest(context.Context, ocispec.Descriptor, []byte) error {
	c.manifests++
	return nil
}

func TestCopyBounds(t *testing.T) {
	made := func(s string) ocispec.Descriptor { return describe(ocispec.MediaTypeImageIndex, []byte(s)) }
	n := 0
	for _, tt := range []struct {
		name     string
		children func(digest.Digest) []ocispec.Descriptor
		ok       bool
		count    int
	}{
		{"nothing", func(digest.Digest) []ocispec.Descriptor { return []ocispec.Descriptor{} }, true, 1},
		{"endless depth", func(d digest.Digest) []ocispec.Descriptor { return []ocispec.Descriptor{made(d.String())} }, false, 0},
		{"endless width", func(digest.Digest) []ocispec.Descriptor {
			var out []ocispec.Descriptor
			for range 200 {
				n++
				out = append(out, made(fmt.Sprint(n)))
			}
			return out
		}, false, maxCopyManifests},
		{"a circle", func(d digest.Digest) []ocispec.Descriptor { return []ocispec.Descriptor{made("root")} }, true, 1},
		{"the same everywhere", func(digest.Digest) []ocispec.Descriptor {
			return slices.Repeat([]ocispec.Descriptor{made("root")}, 100)
		}, true, 1},
	} {
		to := &countingCopier{}
		walk := &treeCopy{src: fakeTree{children: tt.children}, to: to, seen: map[digest.Digest]bool{}, blobs: map[digest.Digest]int64{}}
		err := walk.manifest(t.Context(), made("root"), 0)
		if (err == nil) != tt.ok || to.manifests > max(tt.count, 1) {
			t.Errorf("%s: %d manifests, %v", tt.name, to.manifests, err)
		}
		if !tt.ok {
			wantRefusal(t, err, spec.RuleIndexDepth)
		}
	}
}

// TestHead asks once, whether the answer is yes or no, and reads nothing.
func TestHead(t *testing.T) {
	for name, ref := range places(t) {
		r := openRepository(t, testClient(t, insecure(Options{})), ref)
		_, body := indexOf(t, "x")
		d, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for what, want := range map[string]bool{"v1": true, d.Digest.String(): true, "v2": false, "sha256:" + hex64: false} {
			got, there, err := r.Head(t.Context(), what)
			if err != nil || there != want || there && (got.Digest != d.Digest || got.MediaType != d.MediaType) {
				t.Errorf("%s: %s: %v, %v, %v", name, what, got, there, err)
			}
		}
		if _, _, err := r.Head(t.Context(), "a b"); err == nil {
			t.Errorf("%s: looked for a bad name", name)
		}
	}
	f := newFake(t, false)
	r := openRepository(t, testClient(t, insecure(Options{})), f.host()+"/r")
	if _, there, err := r.Head(t.Context(), "v1"); there || err != nil || len(f.requests()) != 1 {
		t.Errorf("%v, %v, %q", there, err, f.requests())
	}
	f.setFault(times(any30, "HEAD /v2/r/manifests", status(500)))
	if _, _, err := r.Head(t.Context(), "v1"); err == nil {
		t.Error("a registry in trouble is taken for an empty one")
	}
}

// TestCopyTogether: what several copies have in common is sent once, though they
// run at the same time, and each is told of its manifests.
func TestCopyTogether(t *testing.T) {
	c := testClient(t, insecure(Options{}))
	f := newForest(t)
	d := f.mixed(false)
	from := f.layout(d)
	reg := newFake(t, false)
	r := openRepository(t, c, reg.host()+"/r")
	var wg sync.WaitGroup
	for range 6 {
		src := openSource(t, c, from)
		wg.Go(func() {
			told := map[digest.Digest]bool{}
			var last digest.Digest
			err := r.CopyWith(t.Context(), src, d, CopyOptions{Manifest: func(d ocispec.Descriptor, body []byte) {
				if digest.FromBytes(body) != d.Digest || told[d.Digest] {
					t.Errorf("told of %s, which is %q", d.Digest, body)
				}
				told[d.Digest], last = true, d.Digest
			}})
			if err != nil || len(told) != 7 || last != d.Digest {
				t.Errorf("%d manifests, the last is %s: %v", len(told), last, err)
			}
		})
	}
	wg.Wait()
	sent := map[string]int{}
	for _, r := range reg.requests() {
		if strings.HasPrefix(r, "PUT ") {
			sent[filepath.Base(r)]++
		}
	}
	for name, n := range sent {
		if n > 1 && strings.HasPrefix(name, "sha256:") {
			t.Errorf("%s was sent %d times", name, n)
		}
	}
	blobs := slices.DeleteFunc(reg.requests(), func(s string) bool { return !strings.HasPrefix(s, "POST ") })
	if len(blobs) != len(f.bytes)-7 {
		t.Errorf("%d uploads of %d blobs", len(blobs), len(f.bytes)-7)
	}
}

// TestTurnsEnd: who waits for somebody else's upload can be interrupted.
func TestTurnsEnd(t *testing.T) {
	var turns turns
	done, err := turns.take(t.Context(), "sha256:a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.take(ctx, "sha256:a"); err == nil {
		t.Error("two at a time")
	}
	other, err := turns.take(t.Context(), "sha256:b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	done()
	if done, err = turns.take(t.Context(), "sha256:a"); err != nil {
		t.Fatal(err)
	}
	done()
	if len(turns.busy) != 0 {
		t.Errorf("remembers %v", turns.busy)
	}
}
