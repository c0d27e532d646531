package pack

import (
	"fmt"
	"io"

	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/spec"
)

// LintMode says what becomes of findings about booting while an image is built.
// Rules of the format are kept in any case.
type LintMode string

// The modes. The zero value is LintOff.
const (
	LintOff   LintMode = "off"   // files are not looked at
	LintWarn  LintMode = "warn"  // findings are remarks for the user
	LintError LintMode = "error" // the same, and an error is a refusal: nothing is published
)

// ParseLintMode reads what a user writes.
func ParseLintMode(s string) (LintMode, error) {
	switch m := LintMode(s); m {
	case LintOff, LintWarn, LintError:
		return m, nil
	}
	return "", fmt.Errorf("want off, warn or error, got %q", s)
}

// bootChecker makes what looks at the files of a plan while they are read; nil if
// nobody wants to know, or they are no boot tree.
func (p *Plan) bootChecker() *bootcheck.Checker {
	if m := p.options.Lint; m != LintWarn && m != LintError || p.Format == FormatFile {
		return nil
	}
	return bootcheck.New(bootcheck.Options{Platform: p.options.Platform, Labels: p.Labels})
}

// lint judges the files that were read.
func (b *build) lint() error {
	if b.files.boot == nil {
		return nil
	}
	found := b.files.boot.Findings(b.plan.entries())
	fatal := withSeverity(found, spec.SeverityError)
	if b.plan.options.Lint == LintError && len(fatal) > 0 {
		for _, v := range fatal[1:] {
			b.plan.options.log("%s", findingLine(v))
		}
		return spec.FirstError(fatal[:1])
	}
	for _, v := range append(fatal, withSeverity(found, spec.SeverityWarning)...) {
		b.plan.options.log("%s", findingLine(v))
	}
	return nil
}

// findingLine shows a finding as a refusal would.
func findingLine(v spec.Violation) string {
	return (&spec.Refusal{Rule: v.Rule, Path: v.Path, Reason: v.Message}).Error()
}

// entries gives what a plan holds as the entries of an image.
func (p *Plan) entries() []spec.Entry {
	var list []spec.Entry
	for _, l := range p.Layers {
		for _, e := range l.Entries {
			list = append(list, spec.Entry{Path: e.Path, Type: e.Type, Size: e.Size, Target: e.Target})
		}
	}
	return list
}

// probed lets a checker look at a file while it is read; c may be nil. done has to
// be called with the error of the reading.
func probed(c *bootcheck.Checker, path string, r io.Reader) (tee io.Reader, done func(error)) {
	if c == nil {
		return r, func(error) {}
	}
	probe := c.File(path)
	return io.TeeReader(r, probe), func(err error) {
		if err != nil {
			probe.Abort()
		}
		_ = probe.Close() // it never fails
	}
}
