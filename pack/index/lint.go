package index

import (
	"encoding/json"
	"fmt"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Lint gives the rules about indexes that an index breaks. body is its bytes, and
// l what Inspect found. What its boot sets hold is not judged here.
func Lint(l *Listing, body []byte) ([]spec.Violation, error) {
	doc, err := ociindex.Parse(body)
	if err != nil {
		return nil, err
	}
	c := &linter{doc: doc, l: l}
	if err := c.form(body); err != nil {
		return nil, err
	}
	for i := range l.Entries {
		c.entry(i)
	}
	c.mark()
	return c.found, nil
}

type linter struct {
	doc   *ociindex.Document
	l     *Listing
	found []spec.Violation
}

// report notes a violation; path is the digest of the entry, or empty.
func (c *linter) report(rule, path, format string, args ...any) {
	r, _ := spec.LookupRule(rule)
	c.found = append(c.found, spec.Violation{
		Rule: rule, Severity: r.Severity, Path: path, Message: fmt.Sprintf(format, args...), Advice: r.Advice,
	})
}

// form looks at what a parsed index does not show.
func (c *linter) form(body []byte) error {
	var raw struct {
		ArtifactType string                       `json:"artifactType"`
		Manifests    []map[string]json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return fmt.Errorf("read the entries of an index: %w", err)
	}
	if c.l.MediaType != ocispec.MediaTypeImageIndex {
		c.report(spec.RuleIndexForm, "", "is of the media type %q", c.l.MediaType)
	}
	if raw.ArtifactType != "" {
		c.report(spec.RuleIndexForm, "", "has the artifactType %q", raw.ArtifactType)
	}
	for i, e := range raw.Manifests {
		for _, key := range []string{"annotations", "platform"} {
			if string(e[key]) == "null" {
				c.report(spec.RuleIndexForm, c.l.Entries[i].Digest.String(), "%s is null", key)
			}
		}
	}
	return nil
}

// mark asks for the annotation of an index with boot sets.
func (c *linter) mark() {
	for i := range c.l.Entries {
		if c.l.Entries[i].Netboot() && c.l.Annotations[spec.LabelVersion] != spec.Version {
			c.report(spec.RuleIndexMark, "", "has netboot entries, but no annotation %s=%s", spec.LabelVersion, spec.Version)
			return
		}
	}
}

// entry checks one entry, and how it stands to those after it.
func (c *linter) entry(i int) {
	e := &c.l.Entries[i]
	path := e.Digest.String()
	if e.Kind == KindIndex {
		c.report(spec.RuleIndexNested, path, "is an index")
		return
	}
	if e.Kind == KindMissing && marked(e.desc) {
		c.report(spec.RuleDocument, path, "is not in the repository")
	}
	if e.Netboot() && e.Annotations[spec.LabelVersion] != spec.Version {
		c.report(spec.RuleIndexMark, path, "is netboot content, but has no annotation %s=%s", spec.LabelVersion, spec.Version)
	}
	switch _, known := spec.PlatformOf(e.desc.Platform); {
	case e.desc.Platform == nil:
		c.report(spec.RuleIndexPlatform, path, "has no platform")
	case !known && e.Netboot():
		c.report(spec.RuleIndexPlatform, path, "is for %q, which is no platform", e.Platform)
	}
	switch {
	case e.DiskType == "":
		c.report(spec.RuleIndexDiskType, path, "has no annotation disktype")
	case e.Netboot() && e.DiskType != spec.DiskTypeNetboot:
		c.report(spec.RuleIndexDiskType, path, "is netboot content, but its disktype is %q", e.DiskType)
	}
	c.neighbours(i)
}

// marked tells whether an entry says itself that it is netboot content.
func marked(d ocispec.Descriptor) bool {
	return d.Annotations[spec.LabelVersion] != "" || d.Annotations[annotationDiskType] == spec.DiskTypeNetboot || d.ArtifactType == spec.ArtifactType
}

// neighbours compares an entry with later ones.
func (c *linter) neighbours(i int) {
	e := &c.l.Entries[i]
	own, known := spec.PlatformOf(e.desc.Platform)
	if !known {
		return
	}
	hides, twice := false, false
	for j := i + 1; j < len(c.l.Entries); j++ {
		o := &c.l.Entries[j]
		p, ok := spec.PlatformOf(o.desc.Platform)
		if !ok || p.OS != own.OS || p.Architecture != own.Architecture {
			continue
		}
		if e.cannotStart() && o.Kind == KindContainer && !hides {
			hides = true
			c.report(spec.RuleIndexOrder, e.Digest.String(), "stands before %s, a container for %s", o.Digest, o.Platform)
		}
		if p == own && e.Kind == o.Kind && e.ArtifactType == o.ArtifactType && sameUse(e, o) && !twice {
			twice = true
			c.report(spec.RuleIndexTwice, e.Digest.String(), "and %s are both for %s", o.Digest, e.Platform)
		}
	}
}

// cannotStart tells whether this is certainly nothing that runtimes start.
func (l *Entry) cannotStart() bool {
	return l.Netboot() || l.Kind == KindFile || l.Kind == KindArtifact
}

// sameUse tells whether a consumer would take one entry as well as the other.
// Entries of other systems may differ by annotations that mean something there.
func sameUse(a, b *Entry) bool {
	if a.Netboot() || a.Kind == KindContainer {
		return true
	}
	return slotOf(a.desc) == slotOf(b.desc)
}

// BootSets gives the entries whose content is to be linted, too: those that are
// netboot content, or say so.
func (l *Listing) BootSets() []ocispec.Descriptor {
	var all []ocispec.Descriptor
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Netboot() || marked(e.desc) && e.Kind != KindMissing && e.Kind != KindIndex {
			all = append(all, e.desc)
		}
	}
	return all
}
