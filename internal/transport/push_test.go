package transport

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestPushFaults(t *testing.T) {
	const any = 1 << 30
	im := makeImage(t, strings.Repeat("a", 300000), "b", "c")
	halfThen := func(end func(http.ResponseWriter, *http.Request)) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
			end(w, r)
		}
	}
	for _, tt := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		ok    bool
	}{
		{"HEAD 503 twice", times(2, "HEAD", status(503)), true},
		{"POST dropped twice", times(2, "POST", drop), true},
		{"upload dropped in the middle, twice", times(2, "PUT /v2/r/blobs", halfThen(drop)), true},
		{"upload 500 in the middle", times(1, "PUT /v2/r/blobs", halfThen(status(500))), true},
		{"upload session lost", times(1, "PUT /v2/r/blobs", halfThen(status(404))), true},
		{"upload always dropped", times(any, "PUT /v2/r/blobs", halfThen(drop)), false},
		{"upload refused", times(any, "POST", status(403)), false},
		{"upload too large", times(any, "PUT /v2/r/blobs", status(413)), false},
		{"upload sent elsewhere", times(any, "POST", status(202, "Location", "http://registry.example/steal")), false},
		{"manifest 503 twice", times(2, "PUT /v2/r/manifests", status(503)), true},
		{"manifest dropped", times(2, "PUT /v2/r/manifests", halfThen(drop)), true},
		{"manifest with a blob unknown, twice", times(2, "PUT /v2/r/manifests", answer(400, unknownBlob)), true},
		{"manifest with a blob unknown, always", times(any, "PUT /v2/r/manifests", answer(400, unknownBlob)), false},
		{"manifest refused", times(any, "PUT /v2/r/manifests", status(400)), false},
		{"manifest under another digest", times(any, "PUT /v2/r/manifests", status(201, "Docker-Content-Digest", "sha256:"+hex64)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, false)
			f.setFault(tt.fault)
			c := testClient(t, insecure(Options{}))
			err := publish(t, c, f.host()+"/r:v1", im)
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			reqs := f.requests()
			if len(reqs) > 60 {
				t.Errorf("%d requests", len(reqs))
			}
			f.setFault(nil)
			if tt.ok {
				checkImage(t, c, f.host()+"/r:v1", im)
				// Nothing is uploaded after the tag was written.
				tag := len(reqs) - 1
				for reqs[tag] != "PUT /v2/r/manifests/v1" {
					tag--
				}
				for _, r := range reqs[tag:] {
					if strings.Contains(r, "/blobs/") {
						t.Errorf("%s came after the tag", r)
					}
				}
				return
			}
			if strings.HasPrefix(tt.name, "manifest under") {
				return
			}
			_, err = openSource(t, c, f.host()+"/r:v1").Resolve(t.Context())
			wantNotFound(t, err)
		})
	}
}

// unknownBlob is what the distribution registry says while another client
// uploads a blob of the manifest.
const unknownBlob = `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}`

// answer makes a fault of an answer with a body.
func answer(code int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// TestConnectionsKept: all requests of a run share few connections.
func TestConnectionsKept(t *testing.T) {
	im := makeImage(t, "a", "b", "c", "d", "e", "f", "g")
	f := newFake(t, true)
	var mu sync.Mutex
	conns := map[string]bool{}
	f.setFault(func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		conns[r.RemoteAddr] = true
		return false
	})
	f.put(t, "r", "v1", im)
	c := testClient(t, Options{CertDir: certDir(t, f.Server)})
	for range 5 {
		checkImage(t, c, f.host()+"/r:v1", im)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(conns) != 1 {
		t.Errorf("%d connections for one reader", len(conns))
	}
}

func TestTagPages(t *testing.T) {
	f := newFake(t, false)
	for _, tt := range []struct {
		name, link string
		n          int // -1: refused
	}{
		{"one page", "", 2},
		{"another host", `<http://registry.example/next>; rel="next"`, -1},
		{"no end", `</v2/r/tags/list?again>; rel="next"`, -1},
	} {
		f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if tt.link != "" {
				w.Header().Set("Link", tt.link)
			}
			_, _ = w.Write([]byte(`{"tags":["b","a"]}`))
			return true
		})
		got, err := testClient(t, insecure(Options{})).Tags(t.Context(), mustRef(t, f.host()+"/r"))
		if (err == nil) != (tt.n > 0) || err == nil && !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

// TestPublishByDigest: a destination that is only a digest gets no tag.
func TestPublishByDigest(t *testing.T) {
	f := newFake(t, false)
	im := makeImage(t, "x")
	c := testClient(t, insecure(Options{}))
	if err := publish(t, c, f.host()+"/r@"+im.desc.Digest.String(), im); err != nil {
		t.Fatal(err)
	}
	checkImage(t, c, f.host()+"/r@"+im.desc.Digest.String(), im)
	if err := publish(t, c, f.host()+"/r:v1@sha256:"+hex64, im); err == nil {
		t.Error("published under a digest that it does not have")
	}
	for _, r := range f.requests() {
		if strings.Contains(r, "manifests/v1") {
			t.Errorf("wrote a tag: %s", r)
		}
	}
}
