// Package bundle gathers images of many repositories into one OCI layout, or into
// one tar file of it, to be carried to where there is no network. Every entry of
// index.json has the full reference of its image as its name, so that the other
// side can ask for the image by the name that it has everywhere. What is attached
// to an image, signatures above all, is carried with it, under the tags by which
// registries without another way know it.
//
// The same images give the same bytes, in whatever order they were named and
// however many runs it took. A delta leaves out the configs and layers that the
// other side has, never manifests, so that it can be checked by itself; it lists
// what it leaves out in an artifact of its own. docs/bundles.md is the format.
package bundle

import (
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// OmittedType is the artifactType of the manifest that marks a delta. Its layer is
// the list of the blobs that are left out, one digest on a line, sorted.
const OmittedType = "application/vnd.org.pulpproject.netboot.bundle.omitted.v1"

// Options say what goes into a bundle.
type Options struct {
	// Platforms are the entries to take of indexes, which stay as they are
	// otherwise; none: all. A source that is a bundle has what it has.
	Platforms []spec.Platform
	// Since is what the other side has: Create makes a delta that leaves it out.
	// nil: no delta.
	Since Since
	// Prune takes out the images that the sources do not name.
	Prune bool
	// Checksum judges the blobs that are there by content, not by their size.
	Checksum bool
	// Log takes lines about what is odd but no failure. May be nil.
	Log func(format string, a ...any)
}

func (o Options) logf(format string, a ...any) {
	if o.Log != nil {
		o.Log(format, a...)
	}
}

// What became of an image.
const (
	Added     = "added"
	Updated   = "updated"
	Unchanged = "unchanged"
	Removed   = "removed"
)

// Change is what became of one image.
type Change struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	Platforms []string      `json:"platforms,omitempty"` // none: all
	Change    string        `json:"change"`
}

// Result is what Create or Add did.
type Result struct {
	Bundle string   `json:"bundle"`
	Delta  bool     `json:"delta"`
	Images []Change `json:"images"` // sorted by name
	Blobs  Count    `json:"blobs"`  // configs and layers
	Bytes  Count    `json:"bytes"`  // of them
}

// Count counts configs and layers.
type Count struct {
	Fetched int64 `json:"fetched"`
	// Kept were there before, in the bundle or from a run that was ended.
	Kept    int64 `json:"kept"`
	Omitted int64 `json:"omitted"`
}

// problem is an error of this package that knows more than its words.
type problem struct {
	msg, hint string
	code      int
}

func (p *problem) Error() string { return p.msg }
func (p *problem) Hint() string  { return p.hint }
func (p *problem) ExitCode() int { return p.code }
