package front

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

// noise is content that nothing makes smaller, the same for the same seed.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// testTree is a tree as nbextract mirror writes it.
type testTree struct {
	t    testing.TB
	dir  string
	tags map[string][]string
}

func newTree(t testing.TB) *testTree {
	tt := &testTree{t, t.TempDir(), map[string][]string{}}
	tt.write(mirrortree.Ping, []byte("{}"))
	tt.write(mirrortree.EmptyIndex, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	return tt
}

func (tt *testTree) write(p string, b []byte) {
	tt.t.Helper()
	p = filepath.Join(tt.dir, p)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		tt.t.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o644); err != nil {
		tt.t.Fatal(err)
	}
}

func (tt *testTree) blob(b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.FromBytes(b), Size: int64(len(b))}
	tt.write(mirrortree.Blob(d.Digest), b)
	return d
}

// image puts an artifact with these layers under a tag.
func (tt *testTree) image(name, tag string, layers ...[]byte) (ocispec.Descriptor, []ocispec.Descriptor) {
	tt.t.Helper()
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/x-test", Config: tt.blob([]byte("{}"))}
	m.SchemaVersion = 2
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	for i, l := range layers {
		d := tt.blob(l)
		d.Annotations = map[string]string{ocispec.AnnotationTitle: fmt.Sprintf("file%d", i)}
		m.Layers = append(m.Layers, d)
	}
	b, err := json.Marshal(m)
	if err != nil {
		tt.t.Fatal(err)
	}
	d := tt.blob(b)
	d.MediaType = ocispec.MediaTypeImageManifest
	tt.write(mirrortree.Manifest(name, d.Digest, mirrortree.OCIManifest), b)
	link := filepath.Join(tt.dir, mirrortree.Tag(name, tag))
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		tt.t.Fatal(err)
	}
	_ = os.Remove(link)
	if err := os.Symlink(mirrortree.TagTarget(d.Digest), link); err != nil {
		tt.t.Fatal(err)
	}
	tt.tags[name] = append(tt.tags[name], tag)
	slices.Sort(tt.tags[name])
	list, err := json.Marshal(map[string]any{"name": name, "tags": tt.tags[name]})
	if err != nil {
		tt.t.Fatal(err)
	}
	tt.write(mirrortree.TagList(name), list)
	return d, m.Layers
}

// copyOf copies the blobs of the tree, as a mirror has them.
func (tt *testTree) copyOf() string {
	tt.t.Helper()
	dir := tt.t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "blobs"), os.DirFS(filepath.Join(tt.dir, "blobs"))); err != nil {
		tt.t.Fatal(err)
	}
	return dir
}

// fileMirror is a plain web server over a copy, whose answers can be spoiled.
type fileMirror struct {
	*httptest.Server
	dir   string
	mu    sync.Mutex
	spoil func(w http.ResponseWriter, r *http.Request) bool
	seen  []string
}

func newFileMirror(t testing.TB, dir string) *fileMirror {
	m := &fileMirror{dir: dir}
	files := http.FileServer(http.Dir(dir))
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.seen = append(m.seen, r.Method+" "+r.URL.Path)
		spoil := m.spoil
		m.mu.Unlock()
		if spoil == nil || !spoil(w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *fileMirror) set(spoil func(w http.ResponseWriter, r *http.Request) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.spoil = spoil
}

func (m *fileMirror) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.seen = nil }()
	return m.seen
}

// flip changes a byte of a blob on a mirror.
func flip(t testing.TB, dir string, d digest.Digest) {
	t.Helper()
	p := filepath.Join(dir, mirrortree.Blob(d))
	b, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// parse reads a configuration.
func parse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := ParseConfig("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newTestCrawler looks at mirrors when a test says so, by its clock.
func newTestCrawler(t testing.TB, tt *testTree, samples int, urls ...string) (*crawler, []*mirror, func(time.Duration)) {
	t.Helper()
	tree, err := openTree(tt.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.root.Close() })
	text := fmt.Sprintf("crawl: {samples: %d, timeout: 20s}\nmirrors:\n", samples)
	for i, u := range urls {
		text += fmt.Sprintf("- {url: %q, name: m%d}\n", u+"/blobs", i)
	}
	c := parse(t, text)
	crawler := newCrawler(tree, c.Crawl, "test")
	t.Cleanup(crawler.client.CloseIdleConnections)
	now := time.Now()
	crawler.now = func() time.Time { return now }
	crawler.log, crawler.warn = t.Logf, t.Logf
	var mirrors []*mirror
	for _, m := range c.Mirrors {
		mirrors = append(mirrors, newMirror(m))
	}
	return crawler, mirrors, func(d time.Duration) { now = now.Add(d) }
}

func get(t testing.TB, h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "remote" {
			r.RemoteAddr = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	return answerTo(h, r)
}

func sameBytes(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes instead of %d, or other ones", what, len(got), len(want))
	}
}

func answerTo(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
