package bundle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// shelf is a registry that is only read from, and counts.
type shelf struct {
	*httptest.Server
	api bool // it lists referrers

	mu        sync.Mutex
	content   map[digest.Digest][]byte
	types     map[digest.Digest]string // of manifests
	tags      map[string]digest.Digest // by REPOSITORY:TAG
	referrers map[digest.Digest][]ocispec.Descriptor
	asked     map[string]int // requests, by METHOD and kind
	hook      func(w http.ResponseWriter, r *http.Request) (handled bool)
}

func newShelf(t testing.TB) *shelf {
	s := &shelf{
		content: map[digest.Digest][]byte{}, types: map[digest.Digest]string{}, tags: map[string]digest.Digest{},
		referrers: map[digest.Digest][]ocispec.Descriptor{}, asked: map[string]int{},
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) host() string { return s.Listener.Addr().String() }

func (s *shelf) ref(t testing.TB, name string) transport.Reference {
	t.Helper()
	return mustParse(t, s.host()+"/"+name)
}

func mustParse(t testing.TB, name string) transport.Reference {
	t.Helper()
	ref, err := transport.ParseReference(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// ServeHTTP implements http.Handler.
func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest := strings.TrimPrefix(r.URL.Path, "/v2/")
	kind := ""
	for _, k := range []string{"manifests", "blobs", "tags", "referrers"} {
		if strings.Contains(rest, "/"+k+"/") {
			kind = k
		}
	}
	s.mu.Lock()
	s.asked[r.Method+" "+kind]++
	hook := s.hook
	s.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	repository, name, _ := strings.Cut(rest, "/"+kind+"/")
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind {
	case "manifests":
		d := digest.Digest(name)
		if tagged, ok := s.tags[repository+":"+name]; ok {
			d = tagged
		}
		if s.types[d] == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", s.types[d])
		w.Header().Set("Docker-Content-Digest", d.String())
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content[d]))
	case "blobs":
		body, ok := s.content[digest.Digest(name)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	case "tags":
		var tags []string
		for t := range s.tags {
			if tag, ok := strings.CutPrefix(t, repository+":"); ok {
				tags = append(tags, tag)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": repository, "tags": tags})
	case "referrers":
		if !s.api {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_ = json.NewEncoder(w).Encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: s.referrers[digest.Digest(name)]})
	}
}

// requests gives the number of requests of a kind since the last call of it.
func (s *shelf) requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked[kind]
	s.asked[kind] = 0
	return n
}

func (s *shelf) set(hook func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

func (s *shelf) blob(mt string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mt, Digest: digest.FromBytes(b), Size: int64(len(b))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content[d.Digest] = b
	return d
}

func (s *shelf) document(mt string, v any) ocispec.Descriptor {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	d := s.blob(mt, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.types[d.Digest] = mt
	return d
}

// image puts an image on the shelf; its config differs with its layers.
func (s *shelf) image(subject *ocispec.Descriptor, layers ...string) ocispec.Descriptor {
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Subject: subject}
	m.Config = s.blob(ocispec.MediaTypeImageConfig, fmt.Appendf(nil, `{"os":"linux","architecture":"amd64","n":%q}`, layers))
	if subject != nil {
		m.ArtifactType = "application/x-note"
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, s.blob(ocispec.MediaTypeImageLayer, []byte(l)))
	}
	d := s.document(m.MediaType, m)
	if subject != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		entry := d
		entry.ArtifactType = m.ArtifactType
		s.referrers[subject.Digest] = append(s.referrers[subject.Digest], entry)
	}
	return d
}

// index puts an index on the shelf; the entries are for amd64, arm64, and so on.
func (s *shelf) index(entries ...ocispec.Descriptor) ocispec.Descriptor {
	list := slices.Clone(entries)
	for i, arch := range []string{"amd64", "arm64", "s390x"} {
		if i < len(list) {
			list[i].Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
		}
	}
	return s.document(ocispec.MediaTypeImageIndex, ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: list})
}

func (s *shelf) tag(name string, d ocispec.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags[name] = d.Digest
}

func testClient(t testing.TB) *transport.Client {
	t.Helper()
	insecure := false
	conf := filepath.Join(t.TempDir(), "registries.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := transport.NewClient(transport.Options{
		TLSVerify: &insecure, RegistriesConf: conf, TempDir: t.TempDir(),
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// files gives the content of a tree by path.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		if e.IsDir() {
			out[rel+"/"] = ""
			return nil
		}
		b, err := os.ReadFile(name)
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameFiles(t testing.TB, got, want map[string]string) {
	t.Helper()
	if maps.Equal(got, want) {
		return
	}
	for name, content := range want {
		if have, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		} else if have != content {
			t.Errorf("%s is %.300q, want %.300q", name, have, content)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is too much", name)
		}
	}
}

func verified(t testing.TB, ref transport.Reference) *Report {
	t.Helper()
	b, err := transport.OpenBundle(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := Verify(t.Context(), b, ref.String())
	if err != nil {
		t.Fatal(err)
	}
	return r
}
