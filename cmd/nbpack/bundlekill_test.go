package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// stuck is a registry that counts the bytes of layers, and stops in the midst of one
// until it is released.
type stuck struct {
	*httptest.Server
	mu      sync.Mutex
	sent    int
	limit   int           // bytes, then it waits; 0: never
	reached chan struct{} // closed when it waits
	release chan struct{}
}

func newStuck(t testing.TB) *stuck {
	s := &stuck{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			w = &metered{w, s, r}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// metered is one answer with a blob.
type metered struct {
	http.ResponseWriter
	s *stuck
	r *http.Request
}

// Write implements io.Writer.
func (m *metered) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		some := p[:min(len(p), 4096)]
		if !m.s.pass(len(some), m.r) {
			return done, io.ErrClosedPipe
		}
		n, err := m.ResponseWriter.Write(some)
		if done += n; err != nil {
			return done, err
		}
		p = p[n:]
		m.ResponseWriter.(http.Flusher).Flush()
	}
	return done, nil
}

// pass counts bytes; from the limit on nothing more passes, and who waits does so
// until nobody wants them any more.
func (s *stuck) pass(n int, r *http.Request) bool {
	s.mu.Lock()
	s.sent += n
	full := s.limit > 0 && (s.sent > s.limit || s.reached == nil)
	if full {
		s.sent -= n // it is held back
	}
	if full && s.reached != nil {
		close(s.reached)
		s.reached = nil
	}
	release := s.release
	s.mu.Unlock()
	if !full {
		return true
	}
	select {
	case <-release:
	case <-r.Context().Done():
	}
	return false
}

func (s *stuck) delivered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

// TestBundleAfterKill kills runs in the midst of layers. The last one brings the rest,
// and next to nothing is sent twice.
func TestBundleAfterKill(t *testing.T) {
	s := newStuck(t)
	host, total := strings.TrimPrefix(s.URL, "http://"), 0
	dir := filepath.Join(t.TempDir(), "bundle")
	var manifests []string
	args := []string{"bundle", "create", "--tls-verify=false", "oci:" + dir}
	for i := range 6 {
		d := pushed(t, host, "some/base", fmt.Sprint("v", i), noise(2*i, 200000), noise(2*i+1, 200000))
		manifests = append(manifests, d.Digest.Encoded())
		total += 400000
		args = append(args, fmt.Sprintf("%s/some/base:v%d", host, i))
	}
	for range 3 {
		reached := make(chan struct{})
		s.mu.Lock()
		s.limit, s.reached, s.release = s.sent+total/4, reached, make(chan struct{})
		s.mu.Unlock()
		cmd := exec.CommandContext(t.Context(), "nbpack", args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-reached:
		case err := <-ended:
			t.Fatalf("it ended before: %v\n%s", err, out.String())
		}
		hangs := time.After(2 * time.Minute)
		for s.delivered() > stored(dir, manifests) { // what is on its way will be written
			select {
			case <-hangs:
				t.Fatalf("%d bytes were sent, %d are stored", s.delivered(), stored(dir, manifests))
			case err := <-ended:
				t.Fatalf("it ended: %v\n%s", err, out.String())
			default:
			}
		}
		_ = cmd.Process.Kill()
		<-ended
		close(s.release)
	}
	s.mu.Lock()
	s.limit = 0
	s.mu.Unlock()
	nbpackRun(t, args...)
	nbpackRun(t, "bundle", "verify", args[3])
	if sent := s.delivered(); sent > total+total/10 {
		t.Errorf("%d bytes were sent for %d", sent, total)
	}
}

// stored is how much of blobs lies in the work directory of a bundle.
func stored(dir string, manifests []string) (size int) {
	_ = filepath.WalkDir(filepath.Join(dir, ".nbpack-bundle"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || slices.Contains(manifests, e.Name()) || strings.HasPrefix(e.Name(), "document-") {
			return nil // it changes meanwhile
		}
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			size += int(st.Size())
		}
		return nil
	})
	return size
}
