package relocate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"context"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/testserver"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// hub is a registry in this process that remembers what it was asked.
type hub struct {
	*httptest.Server
	inner http.Handler

	mu    sync.Mutex
	asked []string
	fault func(http.ResponseWriter, *http.Request) bool
}

// newHub makes a registry, with or without the API for referrers.
func newHub(t testing.TB, api bool) *hub {
	t.Helper()
	h := &hub{inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(api))}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Server.Close)
	return h
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, r.Method+" "+r.URL.Path)
	fault := h.fault
	h.mu.Unlock()
	if fault == nil || !fault(w, r) {
		h.inner.ServeHTTP(w, r)
	}
}

func (h *hub) host() string { return h.Listener.Addr().String() }

// forget begins a new list of requests, with another fault or none.
func (h *hub) forget(fault func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked, h.fault = nil, fault
}

func (h *hub) requests(prefix string) (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.asked {
		if strings.HasPrefix(r, prefix) {
			list = append(list, r)
		}
	}
	return list
}

// stock is content by digest.
type stock struct {
	t     testing.TB
	bytes map[digest.Digest][]byte
}

func newStock(t testing.TB) *stock { return &stock{t, map[digest.Digest][]byte{}} }

func (s *stock) add(mediaType string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	s.bytes[d.Digest] = b
	return d
}

// document writes a manifest or index as no library would, so that nobody can have
// written it again.
func (s *stock) document(mediaType string, fields map[string]any) ocispec.Descriptor {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "{\n\t\"schemaVersion\" : 2, \"x\": 1.0e2, \"mediaType\":%q", mediaType)
	for _, key := range []string{"artifactType", "config", "layers", "manifests", "subject", "annotations"} {
		if v, ok := fields[key]; ok {
			text, err := json.Marshal(v)
			if err != nil {
				s.t.Fatal(err)
			}
			fmt.Fprintf(&b, " ,\n%q: %s", key, text)
		}
	}
	return s.add(mediaType, []byte(b.String()+" }\n\n"))
}

// image is an image of a few layers.
func (s *stock) image(name string, layers ...ocispec.Descriptor) ocispec.Descriptor {
	config := s.add(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"name":"`+name+`"}`))
	if layers == nil {
		layers = []ocispec.Descriptor{s.add(ocispec.MediaTypeImageLayer, []byte("layer of "+name))}
	}
	return s.document(ocispec.MediaTypeImageManifest, map[string]any{"config": config, "layers": layers})
}

// attached is an artifact that refers to something.
func (s *stock) attached(kind string, subject ocispec.Descriptor) ocispec.Descriptor {
	empty := s.add(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	layer := s.add("application/x-thing", []byte(kind+" of "+subject.Digest.String()))
	return s.document(ocispec.MediaTypeImageManifest, map[string]any{"artifactType": "application/x-" + kind, "config": empty, "layers": []ocispec.Descriptor{layer},
		"subject": ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size}})
}

func (s *stock) index(children ...ocispec.Descriptor) ocispec.Descriptor {
	return s.document(ocispec.MediaTypeImageIndex, map[string]any{"manifests": children})
}

// zoo is an index of all that one finds in the field.
func (s *stock) zoo() ocispec.Descriptor {
	amd64 := s.image("amd64")
	amd64.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	shared := s.add("application/octet-stream", bytes.Repeat([]byte("shared "), 20000))
	config := s.add("application/vnd.docker.container.image.v1+json", []byte(`{"architecture":"arm64","os":"linux"}`))
	docker := s.document(dockerManifest, map[string]any{"config": config, "layers": []ocispec.Descriptor{s.add("application/vnd.docker.image.rootfs.diff.tar.gzip", []byte("gzip, they say"))}})
	docker.Platform = &ocispec.Platform{OS: "linux", Architecture: "arm64"}
	empty := s.add(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	artifact := s.document(ocispec.MediaTypeImageManifest, map[string]any{"artifactType": "application/x-boot", "config": empty, "layers": []ocispec.Descriptor{s.add("application/x-netboot-file", []byte("kernel")), shared}})
	odd := s.add("application/vnd.unknown.config.v1+json", []byte(`{ "odd": 1 }`))
	garden := s.document(ocispec.MediaTypeImageManifest, map[string]any{"config": odd, "layers": []ocispec.Descriptor{shared}})
	list := s.document(dockerList, map[string]any{"manifests": []ocispec.Descriptor{docker}})
	return s.index(amd64, docker, artifact, garden, s.index(artifact), list)
}

// push writes a manifest and what it names into a repository, without the code
// under test. tag may be empty.
func (s *stock) push(host, repo, tag string, d ocispec.Descriptor) {
	s.t.Helper()
	body := s.bytes[d.Digest]
	if spec.IsIndex(d.MediaType) {
		index, err := spec.ParseIndex(d.MediaType, body)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, child := range index.Manifests {
			s.push(host, repo, "", child)
		}
	} else {
		m, err := spec.ParseManifest(d.MediaType, body)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, b := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
			if content, ok := s.bytes[b.Digest]; ok {
				s.upload(host, repo, content)
			}
		}
	}
	if tag == "" {
		tag = d.Digest.String()
	}
	s.send(http.MethodPut, "http://"+host+"/v2/"+repo+"/manifests/"+tag, d.MediaType, body)
}

func (s *stock) upload(host, repo string, content []byte) {
	s.t.Helper()
	where := s.send(http.MethodPost, "http://"+host+"/v2/"+repo+"/blobs/uploads/", "", nil)
	if strings.HasPrefix(where, "/") {
		where = "http://" + host + where
	}
	mark := "?"
	if strings.Contains(where, "?") {
		mark = "&"
	}
	s.send(http.MethodPut, where+mark+"digest="+digest.FromBytes(content).String(), "application/octet-stream", content)
}

func (s *stock) send(method, url, mediaType string, body []byte) (location string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, url, resp.StatusCode, answer)
	}
	return resp.Header.Get("Location")
}

// get reads what a registry has under a tag or digest, or as a blob; nil for 404.
func get(t testing.TB, host, repo, part string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+host+"/v2/"+repo+"/"+part, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Accept"] = []string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerManifest, dockerList}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s %s: %d %s", repo, part, resp.StatusCode, b)
	}
	return b
}

// same compares what a tag names, and everything below it, byte for byte.
func (s *stock) same(host, repo, tag string, d ocispec.Descriptor) {
	s.t.Helper()
	for _, name := range []string{tag, d.Digest.String()} {
		if name == "" {
			continue
		}
		if b := get(s.t, host, repo, "manifests/"+name); !bytes.Equal(b, s.bytes[d.Digest]) {
			s.t.Errorf("%s of %s is %.80q", name, repo, b)
			return
		}
	}
	body := s.bytes[d.Digest]
	if spec.IsIndex(d.MediaType) {
		index, err := spec.ParseIndex(d.MediaType, body)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, child := range index.Manifests {
			s.same(host, repo, "", child)
		}
		return
	}
	m, err := spec.ParseManifest(d.MediaType, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, b := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if content := get(s.t, host, repo, "blobs/"+b.Digest.String()); !bytes.Equal(content, s.bytes[b.Digest]) {
			s.t.Errorf("blob %s of %s is %.80q", b.Digest, repo, content)
		}
	}
}

// testClient does not wait between tries, and allows plain http.
func testClient(t testing.TB, o transport.Options) *transport.Client {
	t.Helper()
	no := false
	o.TLSVerify = &no
	o.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	o.TempDir = t.TempDir()
	c, err := transport.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// opener opens images in their registries.
func opener(c *transport.Client) func(context.Context, transport.Reference) (transport.AttachmentSource, error) {
	return func(ctx context.Context, ref transport.Reference) (transport.AttachmentSource, error) {
		src, err := c.Source(ctx, ref)
		if err != nil {
			return nil, err
		}
		return transport.Attachments(src)
	}
}

// plan makes a plan of images to host/mirror.
func plan(t testing.TB, host string, images ...string) *Plan {
	t.Helper()
	list, err := ParseImages(images)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(list, mapping(t, host+"/mirror", MD5))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// relocate copies images to host/mirror and gives their new repositories, without
// the host.
func relocate(t testing.TB, c *transport.Client, host string, images ...string) (repos []string, m *Map, err error) {
	t.Helper()
	p := plan(t, host, images...)
	err = p.Run(t.Context(), Options{Open: opener(c), To: c, Warn: t.Logf})
	for _, it := range p.items {
		repos = append(repos, strings.TrimPrefix(it.job.to.Name, host+"/"))
	}
	return repos, p.Map(), err
}

// pairs gives registries of each kind to copy from and to.
func pairs(t *testing.T, f func(t *testing.T, from, to string)) {
	kinds := map[string]func(t *testing.T) string{
		"plain": func(t *testing.T) string { return newHub(t, false).host() },
		"api":   func(t *testing.T) string { return newHub(t, true).host() },
		"real":  func(t *testing.T) string { return testserver.Registry(t, "") },
	}
	for _, p := range [][2]string{{"plain", "plain"}, {"plain", "api"}, {"api", "plain"}, {"api", "api"}, {"api", "real"}, {"real", "real"}} {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) { f(t, kinds[p[0]](t), kinds[p[1]](t)) })
	}
}
