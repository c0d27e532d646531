package extract

import (
	"context"
	"fmt"
	"io"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// target is one manifest that was chosen, with everything that can be known
// of it before a layer is read.
type target struct {
	desc          ocispec.Descriptor
	manifest      *ocispec.Manifest
	config        *ocispec.Image
	manifestBytes []byte
	configBytes   []byte
	platform      spec.Platform
	labels        map[string]string // netboot labels of config and manifest
	layers        []bootdir.Layer   // all but their entries, in the manifest's order
}

// memory remembers the documents of manifests by digest, so that what a boot
// directory already proved is not asked for again. A miss is nil, nil.
type memory interface {
	Image(digest string) (*bootdir.Image, error)
}

// resolver finds the manifests below one reference.
type resolver struct {
	src transport.Source
	mem memory
	ref string
}

// candidate is a leaf of an index that a platform may choose. The platform of
// a lone manifest is only known once its config was read.
type candidate struct {
	desc     ocispec.Descriptor
	platform spec.Platform
	marked   bool // the entry says that it is netboot content
}

// resolve returns the manifests that the wanted platforms choose below top.
// From here on only digests are spoken.
func (r *resolver) resolve(ctx context.Context, top ocispec.Descriptor, wanted []string) ([]target, error) {
	if spec.IsManifest(top.MediaType) {
		return r.single(ctx, top, wanted)
	}
	if !spec.IsIndex(top.MediaType) {
		return nil, spec.Refuse(spec.RuleMediaType, "", "%q is of media type %q, which is neither an image nor an index", r.ref, top.MediaType)
	}
	leaves, err := r.leaves(ctx, top)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(r.ref, leaves, wanted)
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, c := range chosen {
		t, err := r.load(ctx, c.desc)
		if err != nil {
			return nil, err
		}
		want := c.platform
		if t.platform.OSVersion == "" {
			want.OSVersion = "" // the entry may say more than the config
		}
		if !want.Matches(t.platform) {
			return nil, spec.Refuse(spec.RulePlatform, "", "the index calls manifest %s %q, its config says %q",
				c.desc.Digest, c.platform, t.platform)
		}
		targets = append(targets, *t)
	}
	return targets, nil
}

// single handles a reference that names one manifest and no index.
func (r *resolver) single(ctx context.Context, top ocispec.Descriptor, wanted []string) ([]target, error) {
	t, err := r.load(ctx, top)
	if err != nil {
		return nil, err
	}
	if _, err := choose(r.ref, []candidate{{desc: top, platform: t.platform}}, wanted); err != nil {
		return nil, err
	}
	return []target{*t}, nil
}

// leaves walks an index and the indexes in it. Entries without a platform,
// and those for no platform (attestations), are never boot content.
func (r *resolver) leaves(ctx context.Context, top ocispec.Descriptor) ([]candidate, error) {
	var found []candidate
	seen := map[string]bool{}
	var walk func(d ocispec.Descriptor, depth int) error
	walk = func(d ocispec.Descriptor, depth int) error {
		if depth > spec.MaxIndexDepth {
			return spec.Refuse(spec.RuleIndexDepth, "", "indexes are nested more than %d deep", spec.MaxIndexDepth)
		}
		if seen[d.Digest.String()] {
			return nil
		}
		seen[d.Digest.String()] = true
		body, mediaType, err := r.src.Manifest(ctx, d)
		if err != nil {
			return err
		}
		index, err := spec.ParseIndex(mediaType, body)
		if err != nil {
			return fmt.Errorf("index %s: %w", d.Digest, err)
		}
		for _, entry := range index.Manifests {
			if spec.IsIndex(entry.MediaType) {
				if err := walk(entry, depth+1); err != nil {
					return err
				}
				continue
			}
			platform, ok := spec.PlatformOf(entry.Platform)
			if !ok || !spec.IsManifest(entry.MediaType) || seen[entry.Digest.String()] {
				continue
			}
			seen[entry.Digest.String()] = true
			found = append(found, candidate{entry, platform, entry.Annotations[spec.LabelVersion] != ""})
		}
		return nil
	}
	if err := walk(top, 1); err != nil {
		return nil, err
	}
	return onlyMarked(found), nil
}

// onlyMarked drops the containers and disks of a mixed index: where any entry
// says that it is netboot content, the others are not.
func onlyMarked(all []candidate) []candidate {
	var marked []candidate
	for _, c := range all {
		if c.marked {
			marked = append(marked, c)
		}
	}
	if len(marked) > 0 {
		return marked
	}
	return all
}

// choose applies the wanted platforms: exactly one candidate for each of
// them, the only one when none is named, or all of them.
func choose(ref string, have []candidate, wanted []string) ([]candidate, error) {
	platforms := make([]spec.Platform, len(have))
	for i, c := range have {
		platforms[i] = c.platform
	}
	fail := func(want string, several bool) error {
		return &PlatformError{Reference: ref, Wanted: want, Candidates: platforms, Several: several}
	}
	switch {
	case len(have) == 0:
		return nil, fail("", false)
	case len(wanted) == 0 && len(have) > 1:
		return nil, fail("", true)
	case len(wanted) == 0, len(wanted) == 1 && wanted[0] == "all":
		return have, nil
	}
	var chosen []candidate
	taken := map[int]bool{}
	for _, name := range wanted {
		want, err := spec.ParsePlatform(name)
		if err != nil {
			return nil, &usageError{msg: fmt.Sprintf("--platform %q: %v", name, err)}
		}
		hits := spec.Select(want, platforms)
		if len(hits) != 1 {
			return nil, fail(want.String(), len(hits) > 1)
		}
		if !taken[hits[0]] {
			taken[hits[0]] = true
			chosen = append(chosen, have[hits[0]])
		}
	}
	return chosen, nil
}

// load reads the manifest and config of one descriptor and what they say.
func (r *resolver) load(ctx context.Context, d ocispec.Descriptor) (*target, error) {
	t := &target{desc: d}
	var err error
	if known, _ := r.mem.Image(d.Digest.String()); known != nil {
		t.manifestBytes, t.configBytes, t.desc.MediaType = known.Manifest, known.Config, known.MediaType
	} else if t.manifestBytes, t.desc.MediaType, err = r.src.Manifest(ctx, d); err != nil {
		return nil, err
	}
	t.desc.Size = int64(len(t.manifestBytes))
	if t.manifest, err = spec.ParseManifest(t.desc.MediaType, t.manifestBytes); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	if t.configBytes == nil {
		if t.configBytes, err = readSmall(ctx, r.src, t.manifest.Config, spec.MaxManifestSize); err != nil {
			return nil, fmt.Errorf("read the config of %s: %w", d.Digest, err)
		}
	}
	if t.config, err = spec.ParseConfig(t.configBytes); err != nil {
		return nil, fmt.Errorf("config of %s: %w", d.Digest, err)
	}
	return t, t.interpret()
}

// interpret derives platform, labels and layers, and refuses what contradicts
// itself before a layer is fetched.
func (t *target) interpret() error {
	var ok bool
	if t.platform, ok = spec.PlatformOf(&t.config.Platform); !ok {
		return spec.Refuse(spec.RulePlatform, "", "the config of %s names no platform", t.desc.Digest)
	}
	var err error
	if t.labels, err = spec.MergeLabels(t.config.Config.Labels, t.manifest.Annotations); err != nil {
		return err
	}
	documents := &spec.Image{MediaType: t.desc.MediaType, Manifest: t.manifest, Config: t.config}
	if err := spec.FirstError(spec.CheckDocuments(documents)); err != nil {
		return err
	}
	for i, l := range t.manifest.Layers {
		t.layers = append(t.layers, bootdir.Layer{
			Digest: l.Digest.String(), DiffID: t.config.RootFS.DiffIDs[i].String(),
			MediaType: l.MediaType, Size: l.Size,
		})
	}
	return nil
}

// readSmall reads a whole blob that must not be larger than limit bytes.
func readSmall(ctx context.Context, src transport.Source, d ocispec.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, spec.Refuse(spec.RuleDocumentSize, "", "blob %s is %d bytes long, at most %d are accepted here", d.Digest, d.Size, limit)
	}
	blob, err := src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return io.ReadAll(blob)
}

// selectionName is the caller's choice of platforms in one spelling, so that
// the same question is recognised on the next run.
func selectionName(wanted []string) string {
	names := make([]string, len(wanted))
	for i, w := range wanted {
		names[i] = w
		if p, err := spec.ParsePlatform(w); err == nil {
			names[i] = p.String()
		}
	}
	return strings.Join(names, ",")
}

// noMemory remembers nothing.
type noMemory struct{}

func (noMemory) Image(string) (*bootdir.Image, error) { return nil, nil }
