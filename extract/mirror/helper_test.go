package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// origin is a registry that remembers what it was asked.
type origin struct {
	t    *testing.T
	url  string
	host string
	mu   sync.Mutex
	seen []string
	own  func(http.ResponseWriter, *http.Request) bool // answers, if it gives true; may be nil
}

func newOrigin(t *testing.T) *origin {
	h := registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	o := &origin{t: t}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		o.mu.Lock()
		o.seen = append(o.seen, req.Method+" "+req.URL.Path)
		own := o.own
		o.mu.Unlock()
		if own != nil && own(w, req) {
			return
		}
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	o.url, o.host = s.URL, strings.TrimPrefix(s.URL, "http://")
	return o
}

// asked gives the requests since the last call, without the version check.
func (o *origin) asked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := slices.DeleteFunc(o.seen, func(s string) bool { return s == "GET /v2/" })
	o.seen = nil
	return seen
}

// answer has f answer some requests; nil for none.
func (o *origin) answer(f func(http.ResponseWriter, *http.Request) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.own = f
}

// refuse denies access to some requests; nil for none.
func (o *origin) refuse(deny func(*http.Request) bool) {
	if deny == nil {
		o.answer(nil)
		return
	}
	o.answer(func(w http.ResponseWriter, req *http.Request) bool {
		no := deny(req)
		if no {
			w.WriteHeader(http.StatusForbidden)
		}
		return no
	})
}

func (o *origin) send(method, path, mediaType string, body []byte) {
	o.t.Helper()
	req, err := http.NewRequest(method, o.url+path, bytes.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		b, _ := io.ReadAll(resp.Body)
		o.t.Fatalf("%s %s: %s %s", method, path, resp.Status, b)
	}
}

func (o *origin) blob(repo, mediaType, content string) ocispec.Descriptor {
	o.t.Helper()
	d := digest.FromString(content)
	o.send("POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), "application/octet-stream", []byte(content))
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(content))}
}

// put stores a document under a tag, or by its digest alone.
func (o *origin) put(repo, tag, mediaType string, doc any) ocispec.Descriptor {
	o.t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		o.t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if tag == "" {
		tag = d.Digest.String()
	}
	o.send("PUT", "/v2/"+repo+"/manifests/"+tag, mediaType, b)
	return d
}

// image stores a manifest with a layer of this content.
func (o *origin) image(repo, tag, content string) ocispec.Descriptor {
	o.t.Helper()
	return o.put(repo, tag, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: o.blob(repo, ocispec.MediaTypeImageConfig, "{}"),
		Layers: []ocispec.Descriptor{o.blob(repo, ocispec.MediaTypeImageLayerGzip, content)},
	})
}

// referrer stores a manifest that refers to another.
func (o *origin) referrer(repo string, subject ocispec.Descriptor, content string) ocispec.Descriptor {
	o.t.Helper()
	return o.put(repo, "", ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/x-note",
		Config: o.blob(repo, ocispec.MediaTypeEmptyJSON, "{}"), Layers: []ocispec.Descriptor{o.blob(repo, "text/plain", content)},
		Subject: &subject, Annotations: map[string]string{"note": content},
	})
}

// index stores an index over entries "ARCH" → content of the image.
func (o *origin) index(repo, tag string, images map[string]string) ocispec.Descriptor {
	o.t.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, arch := range slices.Sorted(maps.Keys(images)) {
		d := o.image(repo, "", images[arch])
		d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		index.Manifests = append(index.Manifests, d)
	}
	return o.put(repo, tag, ocispec.MediaTypeImageIndex, index)
}

// artifact stores a netboot artifact of raw files.
func (o *origin) artifact(repo, tag, name string, files map[string]string) ocispec.Descriptor {
	o.t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: spec.ArtifactType,
		Config: o.blob(repo, ocispec.MediaTypeEmptyJSON, "{}"),
		Annotations: map[string]string{
			spec.LabelVersion: "1", spec.LabelOSName: name, spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64",
		},
	}
	if files["shim.efi"] != "" {
		m.Annotations[spec.LabelEntrypoint] = "shim.efi"
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		d := o.blob(repo, spec.MediaTypeFile, files[file])
		d.Annotations = map[string]string{ocispec.AnnotationTitle: file}
		m.Layers = append(m.Layers, d)
	}
	return o.put(repo, tag, ocispec.MediaTypeImageManifest, m)
}

// harness is a mirror of one registry.
type harness struct {
	*origin
	dir  string
	now  time.Time
	warn []string
}

func newHarness(t *testing.T) *harness {
	return &harness{origin: newOrigin(t), dir: filepath.Join(t.TempDir(), "mirror"), now: time.Now()}
}

// run mirrors references "REPO:TAG" of the registry.
func (h *harness) run(change func(*Options), refs ...string) (*Report, error) {
	h.t.Helper()
	return h.runWith(func(*run) {}, change, refs...)
}

func (h *harness) runWith(hook func(*run), change func(*Options), refs ...string) (*Report, error) {
	h.t.Helper()
	no := false
	c, err := transport.NewClient(transport.Options{TLSVerify: &no, PreferHTTP: func(string) bool { return true },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }})
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	var parsed []Reference
	for _, s := range refs {
		ref, err := ParseReference(h.host + "/" + s)
		if err != nil {
			h.t.Fatal(err)
		}
		parsed = append(parsed, ref)
	}
	var mu sync.Mutex
	h.warn = nil
	o := Options{Dir: h.dir, Now: func() time.Time { return h.now }, Warn: func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		h.warn = append(h.warn, fmt.Sprintf(format, args...))
	}}
	if change != nil {
		change(&o)
	}
	return start(context.Background(), c, parsed, o, hook)
}

// mustRun is run that has to end well, and leaves a whole tree.
func (h *harness) mustRun(change func(*Options), refs ...string) *Report {
	h.t.Helper()
	r, err := h.run(change, refs...)
	if err != nil {
		h.t.Fatalf("mirror %q: %v", refs, err)
	}
	h.check()
	return r
}

// check proves that every tag of the tree leads to what is all there, and that the
// lists say what there is. It gives the tags with their digests.
func (h *harness) check() map[string]digest.Digest {
	h.t.Helper()
	return checkTree(h.t, h.dir, true)
}

// checkTree does so; listed: also that no tag is missing in the lists.
func checkTree(t *testing.T, dir string, listed bool) map[string]digest.Digest {
	t.Helper()
	tags := map[string]digest.Digest{}
	names, err := mirrortree.Repositories(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		entries, err := os.ReadDir(filepath.Join(dir, mirrortree.Tags(name)))
		if err != nil {
			t.Fatal(err)
		}
		have := []string{}
		for _, e := range entries {
			have = append(have, e.Name())
			target, err := os.Readlink(filepath.Join(dir, mirrortree.Tag(name, e.Name())))
			if err != nil {
				t.Fatal(err)
			}
			d, err := mirrortree.TagDigest(target)
			if err != nil {
				t.Fatal(err)
			}
			tags[name+":"+e.Name()] = d
			checkManifest(t, dir, name, d, true)
		}
		var list struct{ Tags []string }
		b, err := os.ReadFile(filepath.Join(dir, mirrortree.TagList(name)))
		if err == nil {
			err = json.Unmarshal(b, &list)
		}
		if listed && (err != nil || !slices.Equal(list.Tags, have)) {
			t.Errorf("tags/list of %q is %q, %v; there are %q", name, b, err, have)
		}
	}
	return tags
}

func checkManifest(t *testing.T, dir, name string, d digest.Digest, must bool) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, mirrortree.ManifestDir(name, d)))
	if os.IsNotExist(err) && !must {
		return
	}
	if err != nil || len(entries) != 1 {
		t.Errorf("%s of %q: %v, %d files", d, name, err, len(entries))
		return
	}
	kinds := mirrortree.Kinds()
	at := slices.IndexFunc(kinds, func(k mirrortree.Kind) bool { return k.File() == entries[0].Name() })
	if at < 0 {
		t.Errorf("%s of %q has a file %q", d, name, entries[0].Name())
		return
	}
	kind := kinds[at]
	b := readDigest(t, filepath.Join(dir, mirrortree.Manifest(name, d, kind)), d)
	if readDigest(t, filepath.Join(dir, mirrortree.Blob(d)), d) == nil || b == nil {
		return
	}
	if spec.IsIndex(kind.MediaType()) {
		index, err := spec.ParseIndex(kind.MediaType(), b)
		if err != nil {
			t.Error(err)
			return
		}
		for _, c := range index.Manifests {
			checkManifest(t, dir, name, c.Digest, false)
		}
		return
	}
	m, err := spec.ParseManifest(kind.MediaType(), b)
	if err != nil {
		t.Error(err)
		return
	}
	for _, l := range append(m.Layers, m.Config) {
		readDigest(t, filepath.Join(dir, mirrortree.Blob(l.Digest)), l.Digest)
	}
}

func readDigest(t *testing.T, file string, d digest.Digest) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || digest.FromBytes(b) != d {
		t.Errorf("%s: %d bytes, %v", file, len(b), err)
		return nil
	}
	return b
}

// snapshot describes every visible file: what, which inode, when.
func (h *harness) snapshot() map[string]string {
	h.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(h.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Name() == mirrortree.State {
			return fs.SkipDir
		}
		st, err := os.Lstat(p)
		if err == nil {
			all[p[len(h.dir):]] = fmt.Sprint(st.Mode(), st.Size(), st.ModTime().UnixNano(), st.Sys().(*syscall.Stat_t).Ino)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func (h *harness) exists(p string) bool {
	_, err := os.Lstat(filepath.Join(h.dir, p))
	return err == nil
}
