package front

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/spec"
)

// handler answers the requests of a registry's clients.
type handler struct {
	tree    *tree
	mirrors []*mirror
	proxies []Network
	memory  memory
	meter   *meter
	now     func() time.Time
	log     func(format string, a ...any)
	doubt   func(m *mirror, d digest.Digest)
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	within(w, 0)
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // nobody reads what was sent
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.fail(w, r, "", &wireError{http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only"})
		return
	}
	kind, err := h.answer(w, r)
	if err != nil {
		h.fail(w, r, kind, err)
		return
	}
	h.meter.request(kind, "ok")
}

// answer finds out what is asked for. Names may hold what the rest of a path is made
// of, so paths are read from their end.
func (h *handler) answer(w http.ResponseWriter, r *http.Request) (kind string, err error) {
	p, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if !ok {
		return "other", fs.ErrNotExist
	}
	if p == "" {
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write([]byte("{}"))
		return "ping", ignore(err)
	}
	if name, ok := strings.CutSuffix(p, "/tags/list"); ok {
		return "tags", h.tags(w, r, name)
	}
	what, last := cutLast(p)
	name, what := cutLast(what)
	if name == "" || mirrortree.CheckName(name) != nil {
		return "other", &wireError{http.StatusNotFound, "NAME_UNKNOWN", "no such repository"}
	}
	switch what {
	case "manifests":
		return what, h.manifest(w, r, name, last)
	case "blobs", "referrers":
		d, err := spec.ParseDigest(last)
		switch {
		case err != nil:
			return what, &wireError{http.StatusBadRequest, "DIGEST_INVALID", "not a digest"}
		case what == "blobs":
			return what, h.blob(w, r, name, d)
		}
		return what, h.referrers(w, r, name, d)
	}
	return "other", fs.ErrNotExist
}

func cutLast(p string) (before, last string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}

// ignore forgets errors of writing to who went away.
func ignore(error) error { return nil }

// manifest answers for a tag or a digest.
func (h *handler) manifest(w http.ResponseWriter, r *http.Request, name, ref string) error {
	d, err := spec.ParseDigest(ref)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	if err != nil {
		w.Header().Set("Cache-Control", "no-cache")
		if !mirrortree.IsTag(ref) {
			return &wireError{http.StatusNotFound, "MANIFEST_UNKNOWN", "neither a tag nor a digest"}
		}
		if d, err = h.tree.tagged(name, ref); err != nil {
			return unknown(err, "MANIFEST_UNKNOWN", "no such tag")
		}
	}
	f, st, mediaType, err := h.tree.manifest(name, d)
	if err != nil {
		return unknown(err, "MANIFEST_UNKNOWN", "no such manifest")
	}
	defer f.Close()
	w.Header().Set("Content-Type", mediaType)
	h.send(w, r, f, st, d)
	return nil
}

// send gives a file that has a digest, or the part of it that is asked for.
func (h *handler) send(w http.ResponseWriter, r *http.Request, f *os.File, st fs.FileInfo, d digest.Digest) {
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Etag", `"`+d.String()+`"`)
	within(w, st.Size())
	http.ServeContent(w, r, "", time.Time{}, f)
}

// within sets a deadline for the whole of an answer: the kernel sends files by itself,
// so nobody sees the parts.
func within(w http.ResponseWriter, size int64) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute + time.Duration(size/leastRate)*time.Second))
}

// leastRate is how many bytes a second a client has to take.
const leastRate = 32 << 10

// tags answers with the list, or the part of it that is asked for.
func (h *handler) tags(w http.ResponseWriter, r *http.Request, name string) error {
	if err := mirrortree.CheckName(name); err != nil {
		return &wireError{http.StatusNotFound, "NAME_UNKNOWN", "no such repository"}
	}
	b, err := h.tree.document(mirrortree.TagList(name))
	if err != nil {
		return unknown(err, "NAME_UNKNOWN", "no such repository")
	}
	q := r.URL.Query()
	if q.Has("n") || q.Has("last") {
		if b, err = pageOf(w, b, q.Get("n"), q.Get("last"), name); err != nil {
			return err
		}
	}
	return h.document(w, r, "application/json", b)
}

// pageOf cuts a list of tags, and says where the next page is.
func pageOf(w http.ResponseWriter, b []byte, n, last, name string) ([]byte, error) {
	var list struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("list of tags of %q: %w", name, err)
	}
	sort.Strings(list.Tags)
	at, found := slices.BinarySearch(list.Tags, last)
	if found {
		at++
	}
	list.Tags = list.Tags[at:]
	if n != "" {
		limit, err := strconv.Atoi(n)
		if err != nil || limit < 0 {
			return nil, &wireError{http.StatusBadRequest, "PAGINATION_NUMBER_INVALID", "n is no number of tags"}
		}
		if limit < len(list.Tags) {
			list.Tags = list.Tags[:limit]
			if limit > 0 {
				next := url.Values{"n": {n}, "last": {list.Tags[limit-1]}}
				w.Header().Set("Link", "</v2/"+name+"/tags/list?"+next.Encode()+`>; rel="next"`)
			}
		}
	}
	return json.Marshal(list)
}

// referrers answers with what refers to a manifest: nothing, where there is no list.
func (h *handler) referrers(w http.ResponseWriter, r *http.Request, name string, d digest.Digest) error {
	b, err := h.tree.document(mirrortree.Referrers(name, d))
	if errors.Is(err, fs.ErrNotExist) {
		b, err = h.tree.document(mirrortree.EmptyIndex)
	}
	if err != nil {
		return unknown(err, "NAME_UNKNOWN", "no such repository")
	}
	if want := r.URL.Query().Get("artifactType"); want != "" {
		if b, err = ofType(b, want); err != nil {
			return err
		}
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return h.document(w, r, ocispec.MediaTypeImageIndex, b)
}

// ofType keeps the entries of one type, each as it is.
func ofType(b []byte, want string) ([]byte, error) {
	var index map[string]json.RawMessage
	var entries []json.RawMessage
	err := json.Unmarshal(b, &index)
	if err == nil {
		err = json.Unmarshal(index["manifests"], &entries)
	}
	if err != nil {
		return nil, fmt.Errorf("list of referrers: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e json.RawMessage) bool {
		var d struct{ ArtifactType string }
		return json.Unmarshal(e, &d) != nil || d.ArtifactType != want
	})
	if entries == nil {
		entries = []json.RawMessage{}
	}
	if index["manifests"], err = json.Marshal(entries); err != nil {
		return nil, err
	}
	return json.Marshal(index)
}

func (h *handler) document(w http.ResponseWriter, r *http.Request, mediaType string, b []byte) error {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	within(w, int64(len(b))) // up to maxDocument
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(b)
	return ignore(err)
}

// wireError is an answer as the distribution specification has errors.
type wireError struct {
	status        int
	code, message string
}

func (e *wireError) Error() string { return e.message }

// unknown is the answer for what is not there, where it is that.
func unknown(err error, code, message string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &wireError{http.StatusNotFound, code, message}
	}
	return err
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, kind string, err error) {
	var e *wireError
	switch {
	case errors.As(err, &e):
	case errors.Is(err, fs.ErrNotExist):
		e = &wireError{http.StatusNotFound, "NAME_UNKNOWN", "not found"}
	default:
		e = &wireError{http.StatusInternalServerError, "UNKNOWN", "the tree cannot be read"}
	}
	h.log("%s: %s %q: %v", h.client(r), r.Method, r.URL.Path, err)
	for _, name := range []string{"Etag", "Docker-Content-Digest", "Link"} {
		w.Header().Del(name)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, "{\"errors\":[{\"code\":%q,\"message\":%q}]}\n", e.code, e.message)
	}
	h.meter.request(kind, strconv.Itoa(e.status))
}

// client is the address that a request comes from: where trusted proxies pass it on,
// the last one in their header that is none of them.
func (h *handler) client(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr)
	addr := ap.Addr().Unmap().WithZone("")
	if !h.trusts(addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break // what a proxy of ours did not write is nobody's word
		}
		addr = next.Unmap().WithZone("")
		if !h.trusts(addr) {
			break
		}
	}
	return addr
}

func (h *handler) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(h.proxies, func(n Network) bool { return n.Contains(addr) })
}
