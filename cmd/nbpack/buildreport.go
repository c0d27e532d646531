package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/pack"
	"github.com/nbpack/nbpack/spec"
)

// buildOutput is the JSON of "nbpack build".
type buildOutput struct {
	*pack.Result               // of an image or an artifact
	Artifacts    []pack.Result `json:"artifacts,omitempty"` // of single files
	// With --index, the digest of the index, as nbextract calls it, and all
	// that became of it.
	IndexDigest digest.Digest `json:"index_digest,omitempty"`
	Index       *indexOutput  `json:"index,omitempty"`
}

// report prints the result; into is the index that it was put into, or nil. Everything is published by now, so a digest file
// that cannot be written must not hide the digests.
func (b *buildFlags) report(env *cli.Env, results []pack.Result, into *indexOutput) error {
	var digests, lines strings.Builder
	for _, r := range results {
		fmt.Fprintln(&digests, r.Digest)
		if b.options.Format == pack.FormatFile && r.URL != "" {
			fmt.Fprintln(&lines, r.URL)
		} else {
			fmt.Fprintln(&lines, r.Digest)
		}
	}
	out := buildOutput{Index: into}
	if into != nil {
		out.IndexDigest = into.Digest
	}
	var err error
	switch {
	case b.json && b.options.Format == pack.FormatFile:
		out.Artifacts = results
		err = env.JSON(out)
	case b.json:
		out.Result = &results[0]
		err = env.JSON(out)
	default:
		_, err = fmt.Fprint(env.Stdout, lines.String())
	}
	if err != nil {
		return fmt.Errorf("everything is published, with the digest %s, but: %w", strings.Join(strings.Fields(digests.String()), " "), err)
	}
	return b.writeDigests(digests.String())
}

// writeDigests writes the digest file, if there is to be one.
func (b *buildFlags) writeDigests(text string) error {
	if b.digestFile == "" {
		return nil
	}
	if err := os.WriteFile(b.digestFile, []byte(text), 0o644); err != nil {
		return fmt.Errorf("everything is published, but: writing the digest file: %w", err)
	}
	return nil
}

// printPlan prints one line for each entry, in the order of the image.
func printPlan(env *cli.Env, plan *pack.Plan, asJSON bool) error {
	if asJSON {
		return env.JSON(plan)
	}
	var out strings.Builder
	for _, n := range plan.Notes {
		env.Info("%s", n)
	}
	for _, f := range plan.Facts {
		env.Info("%q says: %s is %q", f.From, f.Key, f.Value)
	}
	env.Info("%s", planTitle(plan))
	for _, l := range plan.Layers {
		for _, e := range l.Entries {
			switch e.Type {
			case spec.TypeDir:
				fmt.Fprintf(&out, "dir  %12s  %s/\n", "", e.Path)
			case spec.TypeSymlink:
				fmt.Fprintf(&out, "link %12s  %s -> %s\n", "", e.Path, e.Target)
			default:
				fmt.Fprintf(&out, "file %12d  %s", e.Size, e.Path)
				if l.DiskType != "" {
					fmt.Fprintf(&out, " (%s)", l.DiskType)
				}
				if len(e.VerifiedBy) > 0 {
					fmt.Fprintf(&out, " (verified by %s)", strings.Join(e.VerifiedBy, ", "))
				}
				out.WriteByte('\n')
			}
		}
	}
	_, err := fmt.Fprint(env.Stdout, out.String())
	return err
}

// planTitle says what the files are for, as the labels will.
func planTitle(plan *pack.Plan) string {
	title := "for " + plan.Platform
	if plan.OSName != "" || plan.OSVersion != "" {
		title += fmt.Sprintf(", os %q version %q", plan.OSName, plan.OSVersion)
	}
	for _, l := range spec.EntryLinks() {
		if file := plan.Labels[l.Label]; file != "" {
			title += fmt.Sprintf(", %s %q", l.Name, file)
		}
	}
	return title
}
