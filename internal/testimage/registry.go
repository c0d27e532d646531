package testimage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Serve describes a registry and how it lies.
type Serve struct {
	Lies []Lie
}

// Lie changes the answers to some requests.
type Lie struct {
	On     string            // "tag", "manifest" (by digest), "blob", or the digest variable of one: "config", "layer1"
	Method string            // "" for all
	From   int               // from which such request on; 0 and 1: always
	As     string            // answer with what this tag or digest names
	Status int               // instead of 200
	Header map[string]string // set; "" takes one away
	Body   []ByteEdit
}

// Registry is a read-only registry over a layout, for one repository of any
// name. It speaks just enough of the distribution protocol to be pulled from.
type Registry struct {
	dir  string
	lies []Lie
	vars Vars

	mu    sync.Mutex
	asked map[string]int
	tags  map[string]served
}

type served struct{ MediaType, Digest string }

// NewRegistry serves the layout in dir.
func NewRegistry(dir string, s Serve, vars Vars) (*Registry, error) {
	top, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		return nil, err
	}
	var index struct {
		Manifests []struct {
			served
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(top, &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	r := &Registry{dir: dir, lies: s.Lies, vars: vars, asked: map[string]int{}, tags: map[string]served{}}
	for _, m := range index.Manifests {
		r.tags[m.Annotations[refName]] = m.served
	}
	return r, nil
}

// ServeHTTP answers GET and HEAD for manifests and blobs.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	kind, ref := split(req.URL.Path)
	if kind == "" {
		return // the version check: 200
	}
	lies, as := r.apply(kind, ref, req.Method)
	if as != "" {
		ref = as
	}
	what := served{MediaType: "application/octet-stream", Digest: ref}
	if kind == "manifests" {
		what.MediaType = r.mediaType(ref)
		if tagged, ok := r.tags[ref]; ok {
			what = tagged
		}
	}
	body, err := os.ReadFile(filepath.Join(r.dir, "blobs", strings.Replace(what.Digest, ":", "/", 1)))
	if err != nil {
		http.NotFound(w, req)
		return
	}
	w.Header().Set("Content-Type", what.MediaType)
	w.Header().Set("Docker-Content-Digest", what.Digest)
	status := http.StatusOK
	for _, lie := range lies {
		for key, value := range lie.Header {
			w.Header()[http.CanonicalHeaderKey(key)] = []string{r.vars.expand(value)}
			if value == "" {
				w.Header().Del(key)
			}
		}
		if lie.Status != 0 {
			status = lie.Status
		}
		if body, err = applyByteEdits(body, lie.Body, r.vars); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	if status == http.StatusOK {
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(body))
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		// The client may have gone; that is its business.
		_, _ = w.Write(body)
	}
}

// apply counts the request and gives the lies that are due.
func (r *Registry) apply(kind, ref, method string) (lies []Lie, as string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := []string{"blob"}
	if kind == "manifests" {
		names = []string{"tag"}
		if strings.Contains(ref, ":") {
			names = []string{"manifest"}
		}
	}
	for name, hex := range r.vars {
		if ref == "sha256:"+hex && name != names[0] {
			names = append(names, name)
		}
	}
	for _, name := range names {
		r.asked[name]++
		for _, lie := range r.lies {
			if lie.On != name || r.asked[name] < lie.From || (lie.Method != "" && lie.Method != method) {
				continue
			}
			lies = append(lies, lie)
			if lie.As != "" {
				as = r.vars.expand(lie.As)
			}
		}
	}
	return lies, as
}

// mediaType finds what a manifest asked for by digest calls itself.
func (r *Registry) mediaType(digest string) string {
	body, err := os.ReadFile(filepath.Join(r.dir, "blobs", strings.Replace(digest, ":", "/", 1)))
	if err != nil {
		return ""
	}
	var doc struct{ MediaType string }
	if json.Unmarshal(body, &doc) != nil || doc.MediaType == "" {
		return ociManifest
	}
	return doc.MediaType
}

// split takes "/v2/NAME/manifests/REF" apart.
func split(path string) (kind, ref string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 4 {
		return "", ""
	}
	kind, ref = parts[len(parts)-2], parts[len(parts)-1]
	if kind != "manifests" && kind != "blobs" {
		return "", ""
	}
	return kind, ref
}
