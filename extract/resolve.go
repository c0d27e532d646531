package extract

import (
	"context"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/layout"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// memory remembers the documents of manifests by digest, so that what a boot
// directory already proved is not asked for again. A miss is nil, nil.
type memory interface {
	Image(digest string) (*bootdir.Image, error)
}

// noMemory remembers nothing.
type noMemory struct{}

func (noMemory) Image(string) (*bootdir.Image, error) { return nil, nil }

// resolver finds the manifests below one reference.
type resolver struct {
	src  transport.Source
	mem  memory
	ref  string
	set  map[string]string // labels that the caller gives, see Options.Set
	read map[digest.Digest]document
	// lenient passes over wanted platforms that are not there, unless none is.
	lenient bool
	// admit judges a manifest before it is loaded; nil: all are admitted.
	admit func(context.Context, ocispec.Descriptor) error
}

// document is a manifest that was read in this run.
type document struct {
	body      []byte
	mediaType string
}

// document gives the bytes and the media type of a manifest.
func (r *resolver) document(ctx context.Context, d ocispec.Descriptor) (body []byte, mediaType string, err error) {
	if known, _ := r.mem.Image(d.Digest.String()); known != nil {
		return known.Manifest, known.MediaType, nil
	}
	if doc, ok := r.read[d.Digest]; ok {
		return doc.body, doc.mediaType, nil
	}
	body, mediaType, err = r.src.Manifest(ctx, d)
	if err == nil {
		if r.read == nil {
			r.read = map[digest.Digest]document{}
		}
		r.read[d.Digest] = document{body, mediaType}
	}
	return body, mediaType, err
}

// resolve returns the manifests that the wanted platforms choose below top.
// From here on only digests are spoken.
func (r *resolver) resolve(ctx context.Context, top ocispec.Descriptor, wanted []string) ([]target, error) {
	if spec.IsManifest(top.MediaType) {
		return r.single(ctx, top, wanted)
	}
	leaves, err := r.leaves(ctx, top)
	if err != nil {
		return nil, err
	}
	have := candidates(leaves)
	if leavesOpen(wanted) {
		if have, err = carried(have, top); err != nil {
			return nil, err
		}
	}
	chosen, err := r.choose(ctx, have, wanted)
	if err != nil {
		return nil, err
	}
	var targets []target
	for _, c := range chosen {
		t, err := r.chosen(ctx, c)
		if err != nil {
			return nil, err
		}
		targets = append(targets, *t)
	}
	return targets, nil
}

// chosen loads the manifest of an entry, which must be for the platform that
// the index says.
func (r *resolver) chosen(ctx context.Context, c candidate) (*target, error) {
	t, err := r.load(ctx, c.desc, &c.desc)
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
	return t, nil
}

// single handles a reference that names one manifest and no index.
func (r *resolver) single(ctx context.Context, top ocispec.Descriptor, wanted []string) ([]target, error) {
	t, err := r.load(ctx, top, nil)
	if err != nil {
		return nil, err
	}
	if err := r.placeBySet(t); err != nil {
		return nil, err
	}
	if t.platformName() == "" {
		return []target{*t}, r.refuseUnnamed(wanted)
	}
	if _, err := r.choose(ctx, []candidate{{desc: top, platform: t.platform, form: t.form}}, wanted); err != nil {
		return nil, err
	}
	return []target{*t}, nil
}

// refuseUnnamed refuses an artifact that names no platform where one was asked
// for.
func (r *resolver) refuseUnnamed(wanted []string) error {
	if len(wanted) == 0 || wanted[0] == "all" {
		return nil
	}
	p, err := wantedPlatform(wanted[0])
	if err != nil {
		return err
	}
	return &PlatformError{Reference: r.ref, Wanted: p.String(), Unnamed: true}
}

// placeBySet gives an artifact that names no platform the one that the caller
// says.
func (r *resolver) placeBySet(t *target) error {
	if t.platformName() != "" {
		return nil
	}
	given, err := layout.WithSet(nil, r.set)
	if err != nil {
		return err
	}
	t.platform, _, err = spec.ArtifactPlatform(given, nil)
	return err
}

// leaves walks an index and the indexes in it, and gives all entries that are
// no index, each digest once for each platform.
func (r *resolver) leaves(ctx context.Context, top ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if !spec.IsIndex(top.MediaType) {
		return nil, spec.Refuse(spec.RuleMediaType, "", "%q is of media type %q, which is neither an image nor an index", r.ref, top.MediaType)
	}
	var found []ocispec.Descriptor
	seen := map[string]bool{}
	first := func(key string) bool {
		was := seen[key]
		seen[key] = true
		return !was
	}
	var walk func(d ocispec.Descriptor, depth int) error
	walk = func(d ocispec.Descriptor, depth int) error {
		if depth > spec.MaxIndexDepth {
			return spec.Refuse(spec.RuleIndexDepth, "", "indexes are nested more than %d deep", spec.MaxIndexDepth)
		}
		if !first(d.Digest.String()) {
			return nil
		}
		body, mediaType, err := r.src.Manifest(ctx, d)
		if err != nil {
			return err
		}
		index, err := spec.ParseIndex(mediaType, body)
		if err != nil {
			return fmt.Errorf("index %s: %w", d.Digest, err)
		}
		for _, entry := range index.Manifests {
			platform, _ := spec.PlatformOf(entry.Platform)
			switch {
			case spec.IsIndex(entry.MediaType):
				if err := walk(entry, depth+1); err != nil {
					return err
				}
			case first(entry.Digest.String() + " " + platform.IndexString()):
				found = append(found, entry)
			}
		}
		return nil
	}
	return found, walk(top, 1)
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
