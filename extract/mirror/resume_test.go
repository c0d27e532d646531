package mirror

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

// A blob that broke off is continued by the next run; a beginning that is wrong is
// given up.
func TestResume(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1<<14)
	h := newHarness(t)
	h.image("a", "v", content)
	d := digest.FromString(content)
	half := len(content) / 2

	var mu sync.Mutex
	broken, ranges := true, []string{}
	h.answer(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodGet || !strings.HasSuffix(req.URL.Path, "/blobs/"+d.String()) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		ranges = append(ranges, req.Header.Get("Range"))
		from := 0
		if s, ok := strings.CutPrefix(req.Header.Get("Range"), "bytes="); ok {
			from, _ = strconv.Atoi(strings.TrimSuffix(s, "-"+strconv.Itoa(len(content)-1)))
			w.Header().Set("Content-Range", "bytes "+strconv.Itoa(from)+"-"+strconv.Itoa(len(content)-1)+"/"+strconv.Itoa(len(content)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		end := len(content)
		if broken {
			end = max(from, half)
		}
		_, _ = w.Write([]byte(content)[from:end])
		return true // what is short of Content-Length breaks the connection
	})
	if _, err := h.run(nil, "a:v"); err == nil {
		t.Fatal("no error")
	}
	partial := filepath.Join(h.dir, partialDir, "sha256-"+d.Encoded())
	if b, err := os.ReadFile(partial); err != nil || string(b) != content[:half] {
		t.Fatalf("kept %d bytes, %v", len(b), err)
	}
	mu.Lock()
	broken, ranges = false, nil
	mu.Unlock()
	h.mustRun(nil, "a:v")
	if want := "bytes=" + strconv.Itoa(half) + "-" + strconv.Itoa(len(content)-1); len(ranges) != 1 || ranges[0] != want {
		t.Errorf("asked for %q, want %q", ranges, want)
	}

	for name, wrong := range map[string][]byte{
		"another beginning": bytes.Repeat([]byte("x"), half),
		"too long":          []byte(content + "y"),
		"all, but wrong":    bytes.Repeat([]byte("x"), len(content)),
	} {
		if err := os.Remove(filepath.Join(h.dir, mirrortree.Blob(d))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(partial, wrong, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.mustRun(nil, "a:v")
		})
	}
}

// A registry that gives something else than the digest says fills no mirror, and
// nothing of it is kept.
func TestWrongBlob(t *testing.T) {
	h := newHarness(t)
	h.image("a", "v", "right")
	h.answer(func(w http.ResponseWriter, req *http.Request) bool {
		wrong := req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, digest.FromString("right").String())
		if wrong {
			_, _ = w.Write([]byte("wrong"))
		}
		return wrong
	})
	_, err := h.run(nil, "a:v")
	if exitCode(err) != 3 {
		t.Errorf("got %v", err)
	}
	if tags := h.check(); len(tags) != 0 || h.exists(mirrortree.Blob(digest.FromString("right"))) {
		t.Errorf("tags: %v", tags)
	}
	// Another blob may have been on its way, and is right as far as it came.
	rest, err := os.ReadDir(filepath.Join(h.dir, partialDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range rest {
		if strings.Contains(e.Name(), digest.FromString("right").Encoded()) {
			t.Errorf("kept %v", e)
		}
	}
}
