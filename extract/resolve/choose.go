package resolve

import (
	"context"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// candidate is an entry of an index that a platform may choose, or a lone
// manifest.
type candidate struct {
	desc     ocispec.Descriptor
	platform spec.Platform
	form     spec.Form // empty until the manifest was read
}

// candidates gives the entries that may be boot trees. Where any entry says that it is
// netboot content, those that do not are the containers and artifacts of others.
func candidates(leaves []ocispec.Descriptor) []candidate {
	var all, named []candidate
	for _, d := range leaves {
		may, marked := spec.BootEntry(d)
		if !may {
			continue
		}
		platform, _ := spec.PlatformOf(d.Platform)
		c := candidate{desc: d, platform: platform}
		all = append(all, c)
		if marked {
			named = append(named, c)
		}
	}
	if len(named) > 0 {
		return named
	}
	return all
}

// leavesOpen tells that the caller names no platform.
func leavesOpen(wanted []string) bool {
	return len(wanted) == 0 || len(wanted) == 1 && wanted[0] == "all"
}

// carried gives the candidates that are there: a bundle may have been made for some
// platforms of an index, and then its entry says so.
func carried(have []candidate, top ocispec.Descriptor) ([]candidate, error) {
	platforms, err := spec.BundlePlatforms(top)
	if err != nil || platforms == nil {
		return have, err
	}
	var there []candidate
	for _, c := range have {
		if slices.ContainsFunc(platforms, func(p spec.Platform) bool { return p.Matches(c.platform) }) {
			there = append(there, c)
		}
	}
	return there, nil
}

// choose applies the wanted platforms: exactly one candidate for each of
// them, the only one when none is named, or all of them.
func (r *Resolver) choose(ctx context.Context, have []candidate, wanted []string) ([]candidate, error) {
	if len(have) == 0 {
		return nil, r.fail(nil, "", false)
	}
	if leavesOpen(wanted) {
		have, err := r.prefer(ctx, have)
		if err == nil && len(wanted) == 0 && len(have) > 1 {
			return nil, r.fail(have, "", true)
		}
		return have, err
	}
	platforms := make([]spec.Platform, len(have))
	for i, c := range have {
		platforms[i] = c.platform
	}
	var chosen []candidate
	taken := map[string]bool{}
	for _, name := range wanted {
		want, err := wantedPlatform(name)
		if err != nil {
			return nil, err
		}
		var hits []candidate
		for _, i := range spec.Select(want, platforms) {
			hits = append(hits, have[i])
		}
		if hits, err = r.prefer(ctx, hits); err != nil {
			return nil, err
		}
		switch {
		case len(hits) == 0 && r.Lenient:
		case len(hits) == 0:
			return nil, r.fail(have, want.String(), false)
		case len(hits) > 1:
			return nil, r.fail(hits, want.String(), true)
		case !taken[hits[0].platform.String()]:
			taken[hits[0].platform.String()] = true
			chosen = append(chosen, hits[0])
		}
	}
	if len(chosen) == 0 {
		return nil, r.fail(have, strings.Join(wanted, ","), false)
	}
	return chosen, nil
}

// wantedPlatform reads a platform of the command line.
func wantedPlatform(name string) (spec.Platform, error) {
	p, err := spec.ParsePlatform(name)
	if err != nil {
		return p, &UsageError{fmt.Sprintf("--platform %q: %v", name, err)}
	}
	return p, nil
}

func (r *Resolver) fail(have []candidate, want string, several bool) error {
	e := &PlatformError{Reference: r.Reference, Wanted: want, Several: several}
	for _, c := range have {
		e.Candidates = append(e.Candidates, Candidate{c.platform, c.formName(), c.desc.Digest.String()})
	}
	return e
}

// formName is the form as far as it is known: the index may tell.
func (c candidate) formName() spec.Form {
	if c.form == "" && c.desc.ArtifactType == spec.ArtifactType {
		return spec.FormArtifact
	}
	return c.form
}

// maxTwins is how many entries of one platform are read to tell their forms: a
// publisher offers a system in two or three.
const maxTwins = 16

// prefer takes off artifacts that are for the same platform and system as an
// image: they are the same files twice. Only where there are several for one
// platform are their manifests read.
func (r *Resolver) prefer(ctx context.Context, have []candidate) ([]candidate, error) {
	group := map[string][]int{}
	for i, c := range have {
		name := c.platform.String()
		group[name] = append(group[name], i)
	}
	drop := map[int]bool{}
	for _, twins := range group {
		if len(twins) < 2 || len(twins) > maxTwins {
			continue
		}
		for _, i := range twins {
			if err := r.readForm(ctx, &have[i]); err != nil {
				return nil, err
			}
		}
		for _, i := range twins {
			for _, k := range twins {
				if have[i].form.NamesFiles() && have[k].form == spec.FormImage && sameSystem(have[i].platform, have[k].platform) {
					drop[i] = true
				}
			}
		}
	}
	var left []candidate
	for i, c := range have {
		if !drop[i] {
			left = append(left, c)
		}
	}
	return left, nil
}

// sameSystem compares os.version, as far as both have one.
func sameSystem(a, b spec.Platform) bool {
	return a.OSVersion == b.OSVersion || a.OSVersion == "" || b.OSVersion == ""
}

// readForm finds out the form of a candidate.
func (r *Resolver) readForm(ctx context.Context, c *candidate) error {
	if c.form != "" {
		return nil
	}
	body, mediaType, err := r.Document(ctx, c.desc)
	if err != nil {
		return err
	}
	m, err := spec.ParseManifest(mediaType, body)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", c.desc.Digest, err)
	}
	c.form = spec.FormOf(m, &c.desc)
	return nil
}

// SelectionName is a choice of platforms, as Targets takes it, in one spelling, so
// that the same question is recognised on the next run.
func SelectionName(wanted []string) string {
	names := make([]string, len(wanted))
	for i, w := range wanted {
		names[i] = w
		if p, err := spec.ParsePlatform(w); err == nil {
			names[i] = p.String()
		}
	}
	return strings.Join(names, ",")
}
