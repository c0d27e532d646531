package transport

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fakeRegistry is an in-process registry that can be made to misbehave.
type fakeRegistry struct {
	*httptest.Server
	inner http.Handler

	mu    sync.Mutex
	log   []string // "METHOD path"
	fault func(w http.ResponseWriter, r *http.Request) (handled bool)
}

func newFake(t testing.TB, secure bool) *fakeRegistry {
	t.Helper()
	f := &fakeRegistry{inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Server.Close)
	return f
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.log = append(f.log, r.Method+" "+r.URL.Path)
	fault := f.fault
	f.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	f.inner.ServeHTTP(w, r)
}

func (f *fakeRegistry) setFault(fn func(w http.ResponseWriter, r *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fn
	f.log = nil
}

func (f *fakeRegistry) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

func (f *fakeRegistry) host() string { return f.Listener.Addr().String() }

// put stores an image without going through the code under test.
func (f *fakeRegistry) put(t testing.TB, repo, tag string, im testImage) {
	t.Helper()
	do := func(method, path, ct string, b []byte) {
		r := httptest.NewRequest(method, path, bytes.NewReader(b))
		r.Header.Set("Content-Type", ct)
		w := httptest.NewRecorder()
		f.inner.ServeHTTP(w, r)
		if w.Code/100 != 2 {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
	}
	for i, b := range append([][]byte{im.config}, im.layers...) {
		d := append([]ocispec.Descriptor{im.m.Config}, im.m.Layers...)[i]
		do("POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.Digest.String(), "application/octet-stream", b)
	}
	do("PUT", "/v2/"+repo+"/manifests/"+tag, im.desc.MediaType, im.manifest)
}

func insecure(o Options) Options {
	no := false
	o.TLSVerify = &no
	return o
}

// certDir writes the CA of a TLS test server where a client finds it.
func certDir(t testing.TB, srv *httptest.Server) string {
	t.Helper()
	dir := t.TempDir()
	writeCA(t, srv, dir)
	return dir
}

func writeCA(t testing.TB, srv *httptest.Server, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), pemOf(srv.Certificate().Raw), 0o600); err != nil {
		t.Fatal(err)
	}
}

// times gives a fault that happens n times to the requests that match.
func times(n int, match string, fault func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.Method+" "+r.URL.Path, match) {
			return false
		}
		mu.Lock()
		now := n > 0
		n--
		mu.Unlock()
		if now {
			fault(w, r)
		}
		return now
	}
}

func status(code int, header ...string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// drop closes the connection without an answer.
func drop(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// serveRange answers with content from any offset, as good servers do, and
// stops after n bytes of the body if n >= 0.
func serveRange(w http.ResponseWriter, r *http.Request, content []byte, n int) {
	from, code := 0, http.StatusOK
	if h := r.Header.Get("Range"); h != "" {
		var to int
		if _, err := fmt.Sscanf(h, "bytes=%d-%d", &from, &to); err != nil || from >= len(content) || to != len(content)-1 {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(content)))
		code = http.StatusPartialContent
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
	w.WriteHeader(code)
	if n < 0 || n > len(content)-from {
		n = len(content) - from
	}
	_, _ = w.Write(content[from : from+n])
	if from+n < len(content) {
		if fl, ok := w.(http.Flusher); ok {
			fl.Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

func tokenServer(t testing.TB, f *fakeRegistry, check func(r *http.Request) bool) *httptest.Server {
	t.Helper()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !check(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "good"})
	})
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// wantBearer asks for a token from realm before anything else.
func wantBearer(realm string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer good" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="the registry",scope="repository:x:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

// proxyTo passes requests on to a registry at addr, with the caller's Host, so
// that upload locations point back here.
func proxyTo(t testing.TB, addr string) http.Handler {
	t.Helper()
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", addr
			r.Out.Host = r.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
}
