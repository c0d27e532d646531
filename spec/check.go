package spec

import (
	"errors"
	"fmt"

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

// Image is everything that Check looks at: a manifest of any [Form].
type Image struct {
	MediaType string              // of the manifest
	Manifest  *ocispec.Manifest   // as ParseManifest gives it
	Config    *ocispec.Image      // as ParseConfig gives it; nil for forms whose layers are named files
	Entry     *ocispec.Descriptor // what an index says of the manifest; nil without one
	Sums      []Sum               // as ParseSums gives them, if HasSums
	HasSums   bool                // SHA256SUM was found and read
	Entries   []Entry             // of all layers in order, with the entry of SHA256SUM
	DiffIDs   []digest.Digest     // as measured, one for each layer; nil if not measured
}

// Check gives every violation of the format in an image. The order depends on
// the image only: documents and labels first, then the entries in their order,
// SHA256SUM, the entrypoints, and last the warnings about the usual form.
//
// Check judges names, links and sums as data. It trusts that the layers were
// read to their end and that Entry.SHA256 was measured; a regular file without
// one counts as wrong.
func Check(img *Image) []Violation {
	c := newChecker(img)
	if !c.complete() {
		return c.found
	}
	c.documents()
	c.checkLabels()
	c.growTree()
	c.checkFiles()
	c.checkLinks()
	c.checkSums()
	c.checkEntrypoints()
	c.checkForm()
	return c.found
}

// checker gathers violations; its methods run in the order of Check.
type checker struct {
	img    *Image
	form   Form
	rules  map[string]Rule
	labels map[string]string // netboot labels of config and manifest
	files  map[int]ArtifactLayer
	tree   *tree
	found  []Violation
}

func newChecker(img *Image) *checker {
	c := &checker{img: img, rules: make(map[string]Rule)}
	for _, r := range Rules() {
		c.rules[r.ID] = r
	}
	return c
}

// complete reports what nothing else can be said of: an image without its
// documents, a manifest that holds no files at all.
func (c *checker) complete() bool {
	if c.img.Manifest == nil {
		c.report(RuleDocument, "", "the image has no manifest")
		return false
	}
	switch c.form = FormOf(c.img.Manifest, c.img.Entry); {
	case c.form == FormTombstone:
		c.report(RuleBootTree, "", "the manifest is the mark of an index entry that was removed")
		return false
	case c.form == FormImage && c.img.Config == nil:
		c.report(RuleDocument, "", "the image has no config")
		return false
	}
	return true
}

func (c *checker) report(rule, path, format string, args ...any) {
	r := c.rules[rule]
	c.found = append(c.found, Violation{
		Rule: rule, Severity: r.Severity, Path: path,
		Message: fmt.Sprintf(format, args...), Advice: r.Advice,
	})
}

// refuse reports what one of the package's functions refused.
func (c *checker) refuse(err error) {
	var r *Refusal
	if errors.As(err, &r) {
		c.report(r.Rule, r.Path, "%s", r.Reason)
	}
}

// FirstError gives nil if no violation is an error, else a *Refusal with the
// first error and the number of the others.
func FirstError(v []Violation) error {
	var first *Refusal
	more := 0
	for _, violation := range v {
		switch {
		case violation.Severity == SeverityWarning: // anything else counts as an error
		case first == nil:
			first = &Refusal{Rule: violation.Rule, Path: violation.Path, Reason: violation.Message, Advice: violation.Advice}
		default:
			more++
		}
	}
	if first == nil {
		return nil
	}
	if more > 0 {
		first.Reason += fmt.Sprintf(" (and %d more)", more)
	}
	return first
}
