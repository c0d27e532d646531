package transport

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestFaults: what a registry may do, and what comes of it.
func TestFaults(t *testing.T) {
	im := makeImage(t, strings.Repeat("0123456789abcdef", 4096))
	layer, id := im.layers[0], im.m.Layers[0].Digest
	blob := "GET /v2/r/blobs/" + id.String()
	manifest := "GET /v2/r/manifests/"
	noRange := func(n int) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			serveRange(w, r, layer, n)
		}
	}
	cut := func(n int) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { serveRange(w, r, layer, n) }
	}
	body := func(ct string, b []byte) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", ct)
			_, _ = w.Write(b)
		}
	}
	wrongRange := func(h string) func(w http.ResponseWriter, r *http.Request) {
		first := true
		return func(w http.ResponseWriter, r *http.Request) {
			if first || r.Header.Get("Range") == "" {
				n := -1
				if first {
					n = 1000
				}
				first = false
				serveRange(w, r, layer, n)
				return
			}
			w.Header().Set("Content-Range", h)
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(layer[:100])
		}
	}
	flipped := append([]byte(nil), layer...)
	flipped[70] ^= 1
	const any = 1 << 30
	for _, tt := range []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		ok    bool
		rule  string // of the refusal, when it is one
	}{
		{"503 twice on HEAD", times(2, "HEAD", status(503)), true, ""},
		{"429 with Retry-After", times(4, manifest, status(429, "Retry-After", "7")), true, ""},
		{"500 for ever", times(any, manifest, status(500)), false, ""},
		{"connection dropped twice", times(2, manifest, drop), true, ""},
		{"connection dropped for ever", times(any, "HEAD", drop), false, ""},
		{"503 on the blob", times(2, blob, status(503)), true, ""},
		{"reset in the body, once", times(1, blob, cut(1000)), true, ""},
		{"reset five times", times(5, blob, cut(1000)), true, ""},
		{"reset for ever", times(any, blob, cut(1000)), false, ""},
		{"reset, no ranges", times(3, blob, noRange(3000)), true, ""},
		{"reset before anything new, no ranges", times(any, blob, noRange(3000)), false, ""},
		{"reset, then a server without ranges", func() func(http.ResponseWriter, *http.Request) bool {
			a, b := times(1, blob, cut(5000)), times(any, blob, noRange(-1))
			return func(w http.ResponseWriter, r *http.Request) bool { return a(w, r) || b(w, r) }
		}(), true, ""},
		{"wrong start in Content-Range", times(any, blob, wrongRange("bytes 5-65535/65536")), true, ""},
		{"wrong total in Content-Range", times(any, blob, wrongRange("bytes 1000-65535/99")), true, ""},
		{"no Content-Range", times(any, blob, wrongRange("")), true, ""},
		{"206 without being asked", times(any, blob, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 10-65535/65536")
			w.WriteHeader(206)
			_, _ = w.Write(layer[10:])
		}), false, ""},
		{"clean truncation, chunked", times(any, blob, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(416)
				return
			}
			_, _ = w.Write(layer[:1000])
			w.(http.Flusher).Flush()
		}), false, ruleSize},
		{"blob too short", times(any, blob, body("x/y", layer[:100])), false, ruleSize},
		{"blob too long", times(any, blob, body("x/y", append(layer[:len(layer):len(layer)], 'x'))), false, ruleSize},
		{"blob too long, chunked", times(any, blob, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(layer)
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte("more"))
		}), false, ruleSize},
		{"flipped byte", times(any, blob, body("x/y", flipped)), false, ruleDigest},
		{"prefix changed after a reset", func() func(http.ResponseWriter, *http.Request) bool {
			a, b := times(1, blob, cut(5000)), times(any, blob, body("x/y", append([]byte("#"), layer[1:]...)))
			return func(w http.ResponseWriter, r *http.Request) bool { return a(w, r) || b(w, r) }
		}(), true, ""}, // what was delivered is the right prefix, and stays it
		{"compressed on the way", times(any, blob, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(layer)
		}), false, ruleSize},
		{"blob missing", times(any, blob, status(404)), false, ""},
		{"endless redirects", times(any, blob, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"?again", http.StatusTemporaryRedirect)
		}), false, ""},
		{"manifest broken off once", times(1, manifest, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", im.desc.MediaType)
			serveRange(w, r, im.manifest, 10)
		}), true, ""},
		{"manifest too large", times(any, manifest, body(im.desc.MediaType, make([]byte, spec.MaxManifestSize+1))), false, ""},
		{"manifest longer", times(any, manifest, body(im.desc.MediaType, append(im.manifest[:len(im.manifest):len(im.manifest)], ' '))), false, ruleSize},
		{"manifest flipped", times(any, manifest, body(im.desc.MediaType, []byte(strings.Replace(string(im.manifest), "2", "3", 1)))), false, ruleDigest},
		{"manifest as html", times(any, manifest, body("text/html", im.manifest)), false, ruleMediaType},
		{"manifest as index", times(any, manifest, body(ocispec.MediaTypeImageIndex, im.manifest)), false, ruleMediaType},
		{"manifest with parameters", times(any, manifest, body(im.desc.MediaType+"; charset=utf-8", im.manifest)), true, ""},
		{"HEAD without digest", func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "HEAD" {
				w.Header().Set("Content-Type", im.desc.MediaType)
			}
			return r.Method == "HEAD"
		}, true, ""},
		{"HEAD not allowed", times(any, "HEAD", status(405)), true, ""},
		{"HEAD with a foreign digest", times(any, "HEAD", status(200, "Docker-Content-Digest", "md5:d41d8cd98f00b204e9800998ecf8427e", "Content-Type", mtManifest)), false, ""},
		{"HEAD with a path for a digest", times(any, "HEAD", status(200, "Docker-Content-Digest", "sha256:../../x", "Content-Type", mtManifest)), false, ""},
		{"HEAD with the wrong digest", times(any, "HEAD", status(200, "Docker-Content-Digest", "sha256:"+hex64, "Content-Type", mtManifest)), false, ""},
		{"HEAD with a wrong type", times(any, "HEAD", status(200, "Docker-Content-Digest", im.desc.Digest.String(), "Content-Type", "application/json")), false, ruleMediaType},
		{"HEAD with a huge size", times(any, "HEAD", status(200, "Docker-Content-Digest", im.desc.Digest.String(), "Content-Type", mtManifest, "Content-Length", "99999999")), false, ruleManifest},
		{"forbidden", times(any, "GET", status(403)), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, false)
			f.put(t, "r", "v1", im)
			f.setFault(tt.fault)
			waits := 0
			c := testClient(t, insecure(Options{Sleep: func(ctx context.Context, d time.Duration) error {
				waits++
				if d <= 0 || d > maxRetryAfter {
					t.Errorf("waits %s", d)
				}
				return ctx.Err()
			}}))
			err := readEverything(t, c, f.host()+"/r:v1")
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if tt.rule != "" {
				wantRefusal(t, err, tt.rule)
			}
			if n := len(f.requests()); n > 60 {
				t.Errorf("%d requests", n)
			}
			if waits > 40 {
				t.Errorf("waited %d times", waits)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("message has several lines: %q", err)
			}
		})
	}
}
