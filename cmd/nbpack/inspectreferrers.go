package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
)

// inspectOutput is the JSON of "nbpack inspect" for an image.
type inspectOutput struct {
	*pack.Info
	Referrers []pack.Referrer `json:"referrers"`
}

// referrersOf lists what refers to a manifest. What a registry does not tell is no
// reason to show nothing of an image.
func referrersOf(ctx context.Context, env *cli.Env, src transport.Source, subject digest.Digest) ([]pack.Referrer, error) {
	if _, err := transport.Attachments(src); err != nil {
		return nil, nil // there is no place for any
	}
	list, err := pack.Referrers(ctx, src, subject)
	if err != nil && ctx.Err() == nil {
		env.Warn("what refers to it is not known: %v", err)
		err = nil
	}
	return list, err
}

// referrerLines shows what refers to a manifest to people.
func referrerLines(list []pack.Referrer) string {
	var out strings.Builder
	line := func(format string, a ...any) {
		out.WriteString(cli.OneLine(fmt.Sprintf(format, a...)) + "\n")
	}
	for _, r := range list {
		line("referrer   %s %s", r.Digest, r.ArtifactType)
		if r.Problem != "" {
			line("  problem  %s", r.Problem)
		}
		if r.Provenance != nil {
			provenanceLines(line, r.Provenance)
		}
		if r.SBOM != nil {
			sbomLines(line, r.SBOM)
		}
	}
	return out.String()
}

func provenanceLines(line func(format string, a ...any), s *pack.Statement) {
	line("  built by nbpack %s", s.Predicate.RunDetails.Builder.Version["nbpack"])
	for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if d.Notes == nil {
			continue
		}
		text := fmt.Sprintf("  %-9s %s", d.Notes.Role, d.Name)
		for algorithm, hex := range d.Digest {
			text += " " + algorithm + ":" + hex
		}
		if d.Notes.Kind != "" {
			text += fmt.Sprintf(" (%s, %d files)", d.Notes.Kind, d.Notes.Files)
		}
		if len(d.Notes.VerifiedBy) > 0 {
			text += fmt.Sprintf(", %d verified by %s", d.Notes.Verified, strings.Join(d.Notes.VerifiedBy, ", "))
		}
		if d.Notes.SignedBy != "" {
			text += ", signed by " + d.Notes.SignedBy
		}
		line("%s", text)
	}
}

func sbomLines(line func(format string, a ...any), s *pack.SBOM) {
	line("  lists %d files", len(s.Files))
	const image = 1 // what is listed is a package itself
	for _, p := range s.Packages[min(image, len(s.Packages)):] {
		words := slices.DeleteFunc([]string{p.Name, p.VersionInfo}, func(w string) bool { return w == "" })
		line("  package  %s", strings.Join(words, " "))
	}
}
