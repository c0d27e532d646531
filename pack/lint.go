package pack

import (
	"context"
	"errors"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// LintReport is what Lint found.
type LintReport struct {
	// Digest of the manifest that was read; empty if it could not be.
	Digest digest.Digest
	// Violations of rules of the format; none for an image that nbpack made.
	Violations []spec.Violation
}

// Lint reads an image wholly, every byte of every layer, and gives every rule of
// the format that it breaks. A fault that keeps the rest from being read, such as
// a damaged layer, is a violation too. An error means that the image could not be
// read, or is an index.
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
	c := &content{}
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
	return spec.Check(img), nil
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
