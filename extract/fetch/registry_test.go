package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
)

// fileRegistry is a registry with one repository, "ns/files". It checks nothing
// that is put into it, and lists its tags in pages of two.
type fileRegistry struct {
	*httptest.Server

	mu    sync.Mutex
	blobs map[string][]byte // by digest, manifests too
	types map[string]string // media types of manifests, by digest
	tags  []string          // as listed
	named map[string]string // tag → digest
	asked []string          // "METHOD what"
	// before may answer a request itself.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newFileRegistry(t *testing.T) *fileRegistry {
	t.Helper()
	f := &fileRegistry{blobs: map[string][]byte{}, types: map[string]string{}, named: map[string]string{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	t.Setenv("HOME", t.TempDir()) // no credentials of whoever runs the tests
	return f
}

func (f *fileRegistry) ref(suffix string) string {
	return "oci://" + f.Listener.Addr().String() + "/ns/files" + suffix
}

// requests gives those since the last call.
func (f *fileRegistry) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *fileRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	what := strings.TrimPrefix(r.URL.Path, "/v2/ns/files/")
	f.asked = append(f.asked, r.Method+" "+what)
	before := f.before
	f.mu.Unlock()
	if before != nil && before(w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	kind, id, _ := strings.Cut(what, "/")
	if kind == "tags" {
		f.listTags(w, r)
		return
	}
	if d, ok := f.named[id]; ok && kind == "manifests" {
		id = d
	}
	b, ok := f.blobs[id]
	if mt := f.types[id]; !ok || (mt != "") != (kind == "manifests") {
		http.NotFound(w, r)
		return
	} else if mt != "" {
		w.Header().Set("Content-Type", mt)
		w.Header().Set("Docker-Content-Digest", id)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func (f *fileRegistry) listTags(w http.ResponseWriter, r *http.Request) {
	page := f.tags
	for i, tag := range f.tags {
		if tag == r.URL.Query().Get("last") {
			page = f.tags[i+1:]
		}
	}
	if len(page) > 2 {
		page = page[:2]
		w.Header().Set("Link", fmt.Sprintf(`</v2/ns/files/tags/list?last=%s>; rel="next"`, page[1]))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": "ns/files", "tags": page})
}

// put stores bytes; those of a manifest or index have a media type.
func (f *fileRegistry) put(mediaType string, b []byte) ocispec.Descriptor {
	d := digest.FromBytes(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[d.String()] = b
	if mediaType != "" {
		f.types[d.String()] = mediaType
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

func (f *fileRegistry) tag(tag string, d ocispec.Descriptor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tags, f.named[tag] = append(f.tags, tag), d.Digest.String()
}

const (
	dockerManifestType = "application/vnd.docker.distribution.manifest.v2+json"
	testArtifactType   = "application/vnd.example.file"
)

// child describes a manifest and its entry in an index. The bytes of its layers
// are its content, and "2", "3", … behind it.
type child struct {
	content   string
	layers    int               // 0: one
	layerType string            // default: application/octet-stream
	title     string            // of the layers
	notes     map[string]string // on the layers
	container bool              // an image config and no artifactType
	docker    bool              // the same in docker's media types
	untyped   bool              // no mediaType in the body
	bare      bool              // nothing but the empty config says that it is an artifact

	unmarked bool // the entry has no artifactType
	disktype string
	arch     string // none: no platform
}

// manifest stores the child and gives its entry.
func (f *fileRegistry) manifest(t *testing.T, c child) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: testArtifactType}
	m.Config = f.put("", []byte("{}"))
	m.Config.MediaType = ocispec.MediaTypeEmptyJSON
	if c.container || c.docker {
		m.Config.MediaType, m.ArtifactType = ocispec.MediaTypeImageConfig, ""
	}
	if c.docker {
		m.MediaType, m.Config.MediaType = dockerManifestType, "application/vnd.docker.container.image.v1+json"
	}
	if c.bare {
		m.ArtifactType = ""
	}
	mediaType := m.MediaType
	if c.untyped {
		m.MediaType = ""
	}
	if c.disktype != "" {
		m.Annotations = map[string]string{"disktype": c.disktype}
	}
	for i := range max(c.layers, 1) {
		content := c.content
		if i > 0 {
			content += fmt.Sprint(i + 1)
		}
		l := f.put("", []byte(content))
		l.MediaType, l.Annotations = "application/octet-stream", map[string]string{}
		if c.layerType != "" {
			l.MediaType = c.layerType
		}
		for k, v := range c.notes {
			l.Annotations[k] = v
		}
		if c.title != "" {
			l.Annotations[ocispec.AnnotationTitle] = c.title
		}
		m.Layers = append(m.Layers, l)
	}
	d := f.put(mediaType, marshalJSON(t, m))
	d.Annotations = m.Annotations
	if !c.unmarked {
		d.ArtifactType = m.ArtifactType
	}
	if c.arch != "" {
		d.Platform = &ocispec.Platform{OS: "linux", Architecture: c.arch}
	}
	return d
}

// index stores the children and an index of them under a tag.
func (f *fileRegistry) index(t *testing.T, tag string, children ...child) ocispec.Descriptor {
	t.Helper()
	x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, c := range children {
		x.Manifests = append(x.Manifests, f.manifest(t, c))
	}
	d := f.put(x.MediaType, marshalJSON(t, x))
	f.tag(tag, d)
	return d
}

func marshalJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fetch runs File; the warnings come along.
func fetch(t *testing.T, ref string, o Options) (*Result, []string, error) {
	t.Helper()
	r, err := transport.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	insecure := false
	c, err := transport.NewClient(transport.Options{
		TLSVerify:  &insecure,
		PreferHTTP: func(string) bool { return true },
		Sleep:      func(context.Context, time.Duration) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var warnings []string
	o.Warn = func(format string, a ...any) { warnings = append(warnings, fmt.Sprintf(format, a...)) }
	result, err := File(t.Context(), c, r, o)
	return result, warnings, err
}
