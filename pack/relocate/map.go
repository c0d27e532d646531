package relocate

import (
	"github.com/opencontainers/go-digest"
)

// Map is the result of relocating images.
type Map struct {
	Images []Entry `json:"images"`
}

// Entry is one image of a map.
type Entry struct {
	// Original is the reference as the list had it.
	Original string `json:"original"`
	// Relocated is the new reference, with the tag and digest of the original one.
	Relocated string `json:"relocated"`
	// Digest of the manifest or index; nil in a dry run, and if it is not known.
	Digest *digest.Digest `json:"digest"`
	// Changed tells that something was written, be it a signature.
	Changed bool `json:"changed"`
	// Error says why the image was not relocated, or not with all that belongs to
	// it; empty if it was.
	Error string `json:"error,omitempty"`

	image Image
}

// CNAB gives the map in the terms of a bundle.json: new references by those that
// the bundle has, without the images that failed. It is what the relocation map of
// a CNAB runtime is made of.
func (m *Map) CNAB() map[string]string {
	out := map[string]string{}
	for _, e := range m.Images {
		if e.Error == "" {
			out[e.Original] = e.Relocated
		}
	}
	return out
}
