package transport

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

// TestRedirectToLies: a registry that leads to wrong content is asked for the blob
// itself, and no more than that.
func TestRedirectToLies(t *testing.T) {
	large, small := noise(3<<20), noise(1000)
	for _, content := range [][]byte{large, small} {
		liar, honest := newMirror(t, flipped(content, 7)), newMirror(t, goodRanges(content))
		for _, tt := range []struct {
			name string
			home func() http.HandlerFunc
			ok   bool
			gets int
		}{
			{"gives it itself", func() http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Cache-Control") == "no-cache" {
						goodRanges(content)(w, r)
						return
					}
					http.Redirect(w, r, liar.URL+"/x", 307)
				}
			}, true, 2},
			{"leads there again", func() http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, liar.URL+"/x", 307) }
			}, false, 2},
			{"leads elsewhere", func() http.HandlerFunc {
				return first(1, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, liar.URL+"/x", 307) },
					func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, honest.URL+"/x", 307) })
			}, true, 2},
		} {
			t.Run(fmt.Sprintf("%s, %d bytes", tt.name, len(content)), func(t *testing.T) {
				home, im := blobFake(t, content, tt.home())
				c := testClient(t, insecure(Options{PreferHTTP: yes}))
				b, err := layerOf(t, openSource(t, c, home.host()+"/r:v1"), im)
				if tt.ok && (err != nil || !bytes.Equal(b, content)) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				if !tt.ok {
					wantRefusal(t, err, spec.RuleDigest)
				}
				if n := len(home.requests()); n != tt.gets {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
	// And in parts.
	liar := newMirror(t, flipped(large, 7))
	home, im := blobFake(t, large, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cache-Control") == "no-cache" {
			goodRanges(large)(w, r)
			return
		}
		http.Redirect(w, r, liar.URL+"/x", 307)
	})
	if err := wantParts(t, openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), home.host()+"/r:v1"), im, large); err != nil {
		t.Error(err)
	}
}
