package pack

import (
	"context"
	"errors"
	"slices"

	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// LintReport is what Lint found.
type LintReport struct {
	// Digest of the manifest that was read; empty if it could not be, and for a
	// directory.
	Digest digest.Digest
	// Violations of rules of the format, and findings about booting, which have
	// the rules and severities of package bootcheck.
	Violations []spec.Violation
}

// Lint reads an image wholly, every byte of every layer, and gives every rule of
// the format that it breaks, and what keeps its files from booting. A fault that
// keeps the rest from being read, such as a damaged layer, is a violation too. An
// error means that the image could not be read, or is an index.
func Lint(ctx context.Context, src transport.Source) (*LintReport, error) {
	report := &LintReport{Violations: []spec.Violation{}}
	docs, err := readDocuments(ctx, src)
	if docs != nil {
		report.Digest = docs.desc.Digest
	}
	var found []spec.Violation
	if err == nil {
		found, err = lint(ctx, src, docs)
	}
	if err != nil {
		found, err = AsViolations(err)
	}
	report.Violations = append(report.Violations, found...)
	return report, err
}

// lint reads the layers and checks everything.
func lint(ctx context.Context, src transport.Source, docs *documents) ([]spec.Violation, error) {
	c := &content{boot: docs.checker()}
	read := c.readLayer
	if docs.namesFiles() {
		read = c.readNamed
	}
	for i, desc := range docs.manifest.Layers {
		if err := read(ctx, src, desc, i); err != nil {
			return nil, err
		}
	}
	img := &spec.Image{
		MediaType: docs.desc.MediaType, Manifest: docs.manifest, Config: docs.config,
		HasSums: c.hasSums, Entries: c.entries,
	}
	if !docs.namesFiles() {
		img.DiffIDs = c.diffIDs
	}
	if c.hasSums {
		var err error
		if img.Sums, err = spec.ParseSums(c.sums); err != nil {
			return nil, err
		}
	}
	found := spec.Check(img)
	if c.boot != nil {
		found = append(found, c.boot.Findings(c.entries)...)
	}
	return found, nil
}

// checker makes what looks at the files of a boot tree; nil for other content. Of
// labels that contradict each other, which is an error anyway, any will do.
func (d *documents) checker() *bootcheck.Checker {
	if !spec.FormOf(d.manifest, nil).BootTree() {
		return nil
	}
	var o bootcheck.Options
	if d.config != nil {
		o.Platform, _ = spec.PlatformOf(&d.config.Platform)
		o.Labels, _ = spec.MergeLabels(d.config.Config.Labels, d.manifest.Annotations)
		o.Modes = true
	} else if labels, err := spec.ArtifactLabels(d.manifest, nil); err == nil {
		o.Platform, _, _ = spec.ArtifactPlatform(labels, nil)
		o.Labels = labels
	}
	return bootcheck.New(o)
}

// AsViolations makes a violation of a refusal; other errors stay errors.
func AsViolations(err error) ([]spec.Violation, error) {
	var r *spec.Refusal
	if !errors.As(err, &r) {
		return nil, err
	}
	return []spec.Violation{{
		Rule: r.Rule, Severity: spec.SeverityError, Path: r.Path, Message: r.Reason, Advice: r.Advice,
	}}, nil
}

// withSeverity gives the findings of one severity.
func withSeverity(found []spec.Violation, s spec.Severity) []spec.Violation {
	return slices.DeleteFunc(slices.Clone(found), func(v spec.Violation) bool { return v.Severity != s })
}
