package spec

import (
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Violation is one rule that an image breaks.
type Violation struct {
	Rule     string   `json:"rule"`             // id from the table of rules
	Severity Severity `json:"severity"`         // error or warning
	Path     string   `json:"path,omitempty"`   // file or label concerned
	Message  string   `json:"message"`          // what is wrong; text from outside is quoted
	Advice   string   `json:"advice,omitempty"` // what to do about it
}

// Image is everything that Check looks at.
type Image struct {
	MediaType string            // of the manifest
	Manifest  *ocispec.Manifest // as ParseManifest gives it
	Config    *ocispec.Image    // as ParseConfig gives it
	Sums      []Sum             // as ParseSums gives them, if HasSums
	HasSums   bool              // SHA256SUM was found and read
	Entries   []Entry           // of all layers in order, with the entry of SHA256SUM
	DiffIDs   []digest.Digest   // as measured, one for each layer; nil if not measured
}

// Check gives every violation of the format in an image. The order depends on
// the image only: documents and labels first, then the entries in their order,
// SHA256SUM, the entrypoints, and last the warnings.
func Check(img *Image) []Violation {
	return nil
}

// FirstError gives nil if no violation is an error, else a *Refusal with the
// first one and the number of the others.
func FirstError(v []Violation) error {
	return nil
}
