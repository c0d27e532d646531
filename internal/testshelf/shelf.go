// Package testshelf is a registry in the process of a test, with small boot sets to be pushed
// to it: it remembers what it was asked, and fails as it is told. Unlike those of testserver
// it is no real one.
package testshelf

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
)

// Shelf is a registry in this process that remembers what it was asked, and
// fails as it is told.
type Shelf struct {
	t *testing.T
	*httptest.Server
	Store  http.Handler // the registry without faults
	Remote string       // address of another registry that what is pushed goes to instead; empty for none

	mu    sync.Mutex
	seen  []string
	fault func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

// New starts an empty one, which ends with the test.
func New(t *testing.T) *Shelf {
	s := &Shelf{t: t, Store: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.URL.Path)
		fault := s.fault
		s.mu.Unlock()
		if fault == nil || !fault(w, r) {
			s.Store.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Host gives its address, HOST:PORT.
func (s *Shelf) Host() string { return s.Listener.Addr().String() }

// Client gives a client of transport for what lies here under a name, "REPOSITORY:TAG", and
// the reference to that. It is closed with the test.
func (s *Shelf) Client(t *testing.T, name string) (*transport.Client, transport.Reference) {
	t.Helper()
	verify := false
	c, err := transport.NewClient(transport.Options{TLSVerify: &verify})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ref, err := transport.ParseReference(s.Host() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return c, ref
}

// Breaks sets what goes wrong from now on: f answers a request and gives true, or leaves it to
// the registry. With nil nothing goes wrong.
func (s *Shelf) Breaks(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Asked gives the requests since the last call: "METHOD /path".
func (s *Shelf) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.seen
	s.seen = nil
	return seen
}

// Put stores a document under a tag, the empty one for its digest.
func (s *Shelf) Put(repo, name, mediaType string, body []byte) ocispec.Descriptor {
	s.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if name == "" {
		name = d.Digest.String()
	}
	s.do(http.MethodPut, "/v2/"+repo+"/manifests/"+name, mediaType, body)
	return d
}

// Blob stores a blob.
func (s *Shelf) Blob(repo, mediaType string, b []byte) ocispec.Descriptor {
	s.t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	const octets = "application/octet-stream"
	if s.Remote == "" {
		s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+d.Digest.String(), octets, b)
		return d
	}
	at := s.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/", octets, nil)
	s.do(http.MethodPut, at.RequestURI()+"&digest="+d.Digest.String(), octets, b)
	return d
}

// do sends a request that has to succeed, and gives the Location of the answer.
func (s *Shelf) do(method, path, mediaType string, body []byte) *url.URL {
	s.t.Helper()
	if s.Remote != "" {
		r, err := http.NewRequest(method, "http://"+s.Remote+path, bytes.NewReader(body))
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
	s.Store.ServeHTTP(w, r)
	if w.Code/100 != 2 {
		s.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return nil
}
