package front

import (
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

// Why a blob is given by the front itself.
const (
	noMirror = "no_mirror"  // none that is well has it
	again    = "second_try" // the mirrors were tried
	asked    = "asked_for"  // by Cache-Control: no-cache
	headOnly = "head"       // the answer is as short as a redirect
)

// blob sends a client to a mirror, or gives the blob itself.
func (h *handler) blob(w http.ResponseWriter, r *http.Request, name string, d digest.Digest) error {
	f, st, err := h.tree.open(mirrortree.Blob(d))
	if err != nil {
		return unknown(err, "BLOB_UNKNOWN", "no such blob")
	}
	defer f.Close()
	m, why := h.place(r, d)
	if m != nil {
		w.Header().Set("Location", m.at.BlobURL(name, d).String())
		w.Header().Set("Docker-Content-Digest", d.String())
		// The next one may be sent elsewhere.
		w.Header().Set("Cache-Control", "private, no-store")
		w.WriteHeader(http.StatusTemporaryRedirect)
		h.meter.sent(m.Name)
		return nil
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	h.send(&metered{ResponseWriter: w, meter: h.meter}, r, f, st, d)
	h.meter.direct(why)
	return nil
}

// place chooses where a client gets a blob; no mirror: from here, and why.
func (h *handler) place(r *http.Request, d digest.Digest) (m *mirror, why string) {
	if r.Method == http.MethodHead {
		return nil, headOnly
	}
	if strings.Contains(strings.ToLower(r.Header.Get("Cache-Control")), "no-cache") {
		return nil, asked
	}
	client := h.client(r)
	places := choose(h.mirrors, client, d)
	if len(places) == 0 {
		return nil, noMirror
	}
	turn := h.memory.turn(question{client, d}, r.Header.Get("Range"), h.now())
	if turn > 0 {
		if before := (turn - 1) % (len(places) + 1); before < len(places) {
			h.doubt(places[before], d)
		}
	}
	if turn %= len(places) + 1; turn < len(places) {
		return places[turn], ""
	}
	return nil, again
}
