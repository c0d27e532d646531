package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/spec"
)

// LintDir judges a directory as Lint would judge the image that Build makes of it,
// and whether a boot server could serve it as it is. If there is a SHA256SUM at
// its top, as in a boot tree that nbextract made, it has to list exactly the files
// with their checksums. Of the options, Sources are ignored.
func LintDir(ctx context.Context, dir string, o Options) (*LintReport, error) {
	found, err := lintDir(ctx, dir, o)
	if err != nil {
		found, err = AsViolations(err)
	}
	return &LintReport{Violations: append([]spec.Violation{}, found...)}, err
}

func lintDir(ctx context.Context, dir string, o Options) ([]spec.Violation, error) {
	o.Sources = []string{dir}
	sums := filepath.Join(dir, spec.SumsName)
	if info, err := os.Lstat(sums); err == nil && info.Mode().IsRegular() {
		o.Checksums = []string{sums}
	}
	plan, err := Scan(ctx, o)
	if err != nil {
		return nil, err
	}
	defer plan.Close() // nothing was written through it
	files := &sourceFiles{plan: plan, boot: bootcheck.New(bootcheck.Options{
		Platform: plan.options.Platform, Labels: plan.Labels, Modes: true,
	})}
	var entries []spec.Entry
	for _, l := range plan.Layers {
		for i := range l.Entries {
			e, err := lintEntry(ctx, files, &l.Entries[i])
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
	}
	return files.boot.Findings(entries), nil
}

// lintEntry reads one entry of a directory.
func lintEntry(ctx context.Context, files *sourceFiles, e *Entry) (spec.Entry, error) {
	done := spec.Entry{Path: e.Path, Type: e.Type, Size: e.Size, Target: e.Target, Mode: 0o755}
	if e.Source != "" {
		info, err := os.Lstat(e.Source)
		if err != nil {
			return done, fmt.Errorf("looking at %q: %w", e.Source, err)
		}
		done.Mode = uint32(info.Mode().Perm())
	}
	if e.Type != spec.TypeFile {
		return done, nil
	}
	_, err := files.read(ctx, e, func(r io.Reader) (string, error) {
		sum := sha256.New()
		_, err := io.Copy(sum, r)
		return hex.EncodeToString(sum.Sum(nil)), err
	})
	return done, err
}
