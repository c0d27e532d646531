package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
	"github.com/nbpack/nbpack/pack/index"
	"github.com/nbpack/nbpack/spec"
)

// pinned is one manifest of a source. A tag may move between two looks; it does
// not.
type pinned struct {
	transport.Source
	desc ocispec.Descriptor
}

// Resolve implements transport.Source.
func (p pinned) Resolve(context.Context) (ocispec.Descriptor, error) { return p.desc, nil }

// indexAt gives what a source names, and if that is an index its bytes.
func indexAt(ctx context.Context, src transport.Source) (pinned, []byte, error) {
	d, err := src.Resolve(ctx)
	p := pinned{src, d}
	if err != nil || d.MediaType != "" && !spec.IsIndex(d.MediaType) {
		return p, nil, err
	}
	body, mediaType, err := src.Manifest(ctx, d)
	if err != nil {
		return p, nil, err
	}
	p.desc.MediaType, p.desc.Size = mediaType, int64(len(body))
	if !spec.IsIndex(mediaType) {
		return p, nil, nil
	}
	return p, body, nil
}

// lintAny checks an image, or an index with the boot sets in it.
func lintAny(ctx context.Context, ref transport.Reference, src transport.Source) (*lintResult, error) {
	p, body, err := indexAt(ctx, src)
	switch {
	case err != nil:
		return lintImage(ctx, ref.String(), src) // which knows refusals
	case body == nil:
		return lintImage(ctx, ref.String(), p)
	}
	r := &lintResult{Reference: ref.String(), Digest: p.desc.Digest, Violations: []spec.Violation{}}
	l, err := index.Inspect(ctx, p, p.desc, body)
	if err == nil {
		var found []spec.Violation
		found, err = index.Lint(l, body)
		r.Violations = append(r.Violations, found...)
	}
	if err != nil {
		found, err := pack.AsViolations(err)
		r.Violations = append(r.Violations, found...)
		return r, err
	}
	for _, d := range l.BootSets() {
		e, err := lintImage(ctx, "", pinned{src, ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}})
		if err != nil {
			return nil, fmt.Errorf("entry %s: %w", d.Digest, err)
		}
		e.Digest = d.Digest
		if platform, ok := spec.PlatformOf(d.Platform); ok {
			e.Platform = platform.IndexString()
		}
		r.Entries = append(r.Entries, *e)
	}
	return r, nil
}

func lintImage(ctx context.Context, name string, src transport.Source) (*lintResult, error) {
	report, err := pack.Lint(ctx, src)
	if err != nil {
		return nil, err
	}
	return &lintResult{Reference: name, Digest: report.Digest, Violations: report.Violations}, nil
}

// indexInfo is what "nbpack inspect" prints of an index.
type indexInfo struct {
	Reference string `json:"reference"`
	Form      string `json:"form"`
	*index.Listing
	Referrers []pack.Referrer `json:"referrers"`
}

// inspectIndex prints the entries of an index.
func inspectIndex(ctx context.Context, env *cli.Env, ref transport.Reference, p pinned, body []byte, asJSON bool) error {
	l, err := index.Inspect(ctx, p, p.desc, body)
	if err != nil {
		return err
	}
	attached, err := referrersOf(ctx, env, p.Source, l.Digest)
	if err != nil {
		return err
	}
	env.StopProgress()
	if asJSON {
		return env.JSON(indexInfo{ref.String(), "index", l, attached})
	}
	var out strings.Builder
	line := func(format string, a ...any) {
		out.WriteString(cli.OneLine(fmt.Sprintf(format, a...)) + "\n")
	}
	line("reference  %s", ref)
	line("digest     %s", l.Digest)
	line("form       index")
	for _, k := range slices.Sorted(maps.Keys(l.Annotations)) {
		line("annotation %s=%s", k, l.Annotations[k])
	}
	_, err = fmt.Fprint(env.Stdout, out.String()+entryTable(l.Entries)+referrerLines(attached))
	if err == nil && len(l.Entries) > 0 {
		one := ref
		one.Tag, one.Digest = "", l.Entries[0].Digest
		env.Info("one entry is shown by its digest, as in: nbpack inspect %s", one)
	}
	return err
}
