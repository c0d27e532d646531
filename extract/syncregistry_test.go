package extract

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// shelf is a registry in this process that remembers what it was asked, and
// fails as it is told.
type shelf struct {
	t *testing.T
	*httptest.Server
	store  http.Handler
	remote string // address of another registry that documents are put into

	mu    sync.Mutex
	seen  []string
	fault func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{t: t, store: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.URL.Path)
		fault := s.fault
		s.mu.Unlock()
		if fault == nil || !fault(w, r) {
			s.store.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) host() string { return s.Listener.Addr().String() }

// breaks sets what goes wrong from now on.
func (s *shelf) breaks(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// asked gives the requests since the last call.
func (s *shelf) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// put stores a document under a tag or digest.
func (s *shelf) put(repo, name, mediaType string, body []byte) ocispec.Descriptor {
	s.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if name == "" {
		name = d.Digest.String()
	}
	s.do(http.MethodPut, "/v2/"+repo+"/manifests/"+name, mediaType, body)
	return d
}

func (s *shelf) blob(repo, mediaType string, b []byte) ocispec.Descriptor {
	s.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	const octets = "application/octet-stream"
	if s.remote == "" {
		s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d.Digest.String(), octets, b)
		return d
	}
	at := s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", octets, nil)
	s.do(http.MethodPut, at.RequestURI()+"&digest="+d.Digest.String(), octets, b)
	return d
}

// do sends a request that has to succeed, and gives the Location of the answer.
func (s *shelf) do(method, path, mediaType string, body []byte) *url.URL {
	s.t.Helper()
	if s.remote != "" {
		r, err := http.NewRequest(method, "http://"+s.remote+path, bytes.NewReader(body))
		if err != nil {
			s.t.Fatal(err)
		}
		r.Header.Set("Content-Type", mediaType)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			s.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 2 {
			s.t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
		at, _ := resp.Location()
		return at
	}
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", mediaType)
	w := httptest.NewRecorder()
	s.store.ServeHTTP(w, r)
	if w.Code/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return nil
}

// boot is a small boot set to be pushed.
type boot struct {
	version, arch string            // os.version, "amd64" when empty
	files         map[string]string // a kernel when nil
	notes         map[string]string // manifest annotations
	labels        map[string]string // besides those of the path
	created       *time.Time
	single        bool // one layer holds SHA256SUM and all else
	chunked       bool // layers are zstd:chunked
	silent        bool // they do not declare what they unpack to
}

// push stores a boot set as an image under a tag; the empty one leaves it with
// its digest alone.
func (s *shelf) push(repo, tag string, b boot) ocispec.Descriptor {
	s.t.Helper()
	if b.arch == "" {
		b.arch = "amd64"
	}
	if b.files == nil {
		b.files = map[string]string{"vmlinuz": "kernel of " + b.version + b.arch}
	}
	var sums strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(b.files[name])), name)
	}
	config := ocispec.Image{Created: b.created, Platform: ocispec.Platform{OS: "linux", Architecture: b.arch}}
	config.Config.Labels = map[string]string{
		spec.LabelVersion: "1", spec.LabelOSName: "os", spec.LabelOSVersion: b.version, spec.LabelOSArch: b.arch,
	}
	maps.Copy(config.Config.Labels, b.labels)
	config.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: b.notes}
	layers := []map[string]string{{spec.SumsName: sums.String()}, b.files}
	if b.single {
		maps.Copy(layers[0], b.files)
		layers = layers[:1]
	}
	for _, files := range layers {
		plain, packed := tarball(files)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(plain))
		layer := s.blob(repo, ocispec.MediaTypeImageLayerGzip, packed)
		if b.chunked {
			layer = s.chunked(repo, plain)
		}
		if b.silent {
			delete(layer.Annotations, spec.AnnotationUncompressedSize)
		}
		m.Layers = append(m.Layers, layer)
	}
	m.Config = s.blob(repo, ocispec.MediaTypeImageConfig, mustJSON(config))
	return s.put(repo, tag, m.MediaType, mustJSON(m))
}

// chunked stores a tar as a zstd:chunked layer.
func (s *shelf) chunked(repo string, plain []byte) ocispec.Descriptor {
	s.t.Helper()
	var out bytes.Buffer
	w, err := archive.NewLayerWriter(&out, archive.ZstdChunked)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		s.t.Fatal(err)
	}
	d, _, err := w.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	s.blob(repo, d.MediaType, out.Bytes())
	return d
}

// index stores an index of what was pushed.
func (s *shelf) index(repo, tag string, entries ...ocispec.Descriptor) ocispec.Descriptor {
	s.t.Helper()
	i := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries}
	return s.put(repo, tag, i.MediaType, mustJSON(i))
}

func on(arch string, d ocispec.Descriptor) ocispec.Descriptor {
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
	return d
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func tarball(files map[string]string) (plain, packed []byte) {
	var out, zipped bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o444, Size: int64(len(files[name])), Format: tar.FormatUSTAR})
		_, _ = io.WriteString(w, files[name])
	}
	_ = w.Close()
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(out.Bytes())
	_ = z.Close()
	return out.Bytes(), zipped.Bytes()
}

// syncer runs catalogues over one boot directory, with a clock of its own.
type syncer struct {
	t      *testing.T
	dir    string
	opts   SyncOptions
	now    time.Time
	warned []string
	client func(*transport.Options) // changes how the network is used; nil: not at all
}

func newSyncer(t *testing.T) *syncer {
	return &syncer{t: t, dir: t.TempDir(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// run does one run over a catalogue, in which DIR stands for the directory.
func (s *syncer) run(text string) (*SyncReport, error) {
	s.t.Helper()
	c, entries, err := catalog.Parse("c.yaml", "test", []byte("destination: "+s.dir+"\nimages:\n"+text))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.runCatalog(c, entries)
}

func (s *syncer) runCatalog(c *catalog.Catalog, entries []catalog.Entry) (*SyncReport, error) {
	s.t.Helper()
	s.warned = nil
	insecure := false
	network := transport.Options{
		TLSVerify: &insecure, Mirrors: c.Mirrors, PreferHTTP: func(string) bool { return true },
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
	if s.client != nil {
		s.client(&network)
	}
	client, err := transport.NewClient(network)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	o := s.opts
	o.Now = func() time.Time { return s.now }
	o.Client = func(*bool) (*transport.Client, error) { return client, nil }
	o.Warn = func(format string, a ...any) { s.warned = append(s.warned, fmt.Sprintf(format, a...)) }
	return Sync(s.t.Context(), c, entries, o)
}

// must is run for runs in which nothing may fail.
func (s *syncer) must(text string) *SyncReport {
	s.t.Helper()
	r, err := s.run(text)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, strings.Join(s.warned, "\n"))
	}
	return r
}
