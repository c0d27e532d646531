// Package resolve finds out what a reference names: of an index, and the indexes in
// it, exactly one manifest for each platform that is wanted, its documents read,
// bounded and proved by digest, and judged before a layer is fetched.
//
// It reads documents and no layers, and changes nothing.
package resolve

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

// Memory remembers the documents of manifests by digest, so that what a boot
// directory already proved is not asked for again. A miss is nil, nil. *bootdir.Dir
// is one.
type Memory interface {
	Image(digest string) (*bootdir.Image, error)
}

// Resolver finds the manifests below one reference. It is not safe for
// concurrent use.
type Resolver struct {
	// Source has what the reference names; the caller closes it.
	Source transport.Source
	// Memory is asked before the source; nil: it is not.
	Memory Memory
	// Reference is the name of all that in errors.
	Reference string
	// Set are labels that the caller gives, as layout.WithSet takes them: they say
	// what an artifact without a platform is for.
	Set map[string]string
	// Lenient passes over wanted platforms that are not there, unless none is.
	Lenient bool
	// Admit judges a manifest before it becomes a target; nil: all are admitted. Entries for
	// one platform are told apart by their manifests before.
	Admit func(context.Context, ocispec.Descriptor) error

	read map[digest.Digest]document
}

// document is a manifest that was read in this run.
type document struct {
	body      []byte
	mediaType string
}

// known gives what is remembered of a manifest; nil, nil where that is nothing.
func (r *Resolver) known(d digest.Digest) (*bootdir.Image, error) {
	if r.Memory == nil {
		return nil, nil
	}
	return r.Memory.Image(d.String())
}

// Document gives the bytes and the media type of a manifest, be it a boot tree's or
// not. Errors are those of the source.
func (r *Resolver) Document(ctx context.Context, d ocispec.Descriptor) (body []byte, mediaType string, err error) {
	if known, _ := r.known(d.Digest); known != nil {
		return known.Manifest, known.MediaType, nil
	}
	if doc, ok := r.read[d.Digest]; ok {
		return doc.body, doc.mediaType, nil
	}
	body, mediaType, err = r.Source.Manifest(ctx, d)
	if err == nil {
		if r.read == nil {
			r.read = map[digest.Digest]document{}
		}
		r.read[d.Digest] = document{body, mediaType}
	}
	return body, mediaType, err
}

// Targets gives the manifests that the wanted platforms choose below top, what the
// reference names now: one for each, as spec.ParsePlatform reads them, in their
// order; the only one where none is wanted, and all for the single word "all".
// Entries of an index that are no boot trees are passed over, and artifacts beside
// an image that has the same files. From here on only digests are spoken.
//
// Errors are *PlatformError for the choice, *UsageError for what is no platform,
// *spec.Refusal for documents that are not accepted, and those of the source and of
// Admit.
func (r *Resolver) Targets(ctx context.Context, top ocispec.Descriptor, wanted []string) ([]*Target, error) {
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
	var targets []*Target
	for _, c := range chosen {
		t, err := r.chosen(ctx, c)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// Each walks an index and the indexes in it, and tells of every entry that is not an
// index, each digest once for each platform. If it may be a boot tree, visit gets its
// target, or the error that kept that from being read; if it is something else, neither.
// An error of visit ends the walk and is given back. Other errors are about indexes.
func (r *Resolver) Each(ctx context.Context, top ocispec.Descriptor, visit func(d ocispec.Descriptor, t *Target, err error) error) error {
	leaves, err := r.leaves(ctx, top)
	if err != nil {
		return err
	}
	trees := map[string]candidate{}
	for _, c := range candidates(leaves) {
		trees[leafKey(c.desc.Digest, c.platform)] = c
	}
	for _, d := range leaves {
		var t *Target
		var err error
		platform, _ := spec.PlatformOf(d.Platform)
		if c, ok := trees[leafKey(d.Digest, platform)]; ok {
			t, err = r.chosen(ctx, c)
		}
		if err := visit(d, t, err); err != nil {
			return err
		}
	}
	return nil
}

// leafKey tells entries of indexes apart: one manifest may be there for several systems.
func leafKey(d digest.Digest, p spec.Platform) string { return d.String() + " " + p.IndexString() }

// chosen loads the manifest of an entry, which must be for the platform that
// the index says.
func (r *Resolver) chosen(ctx context.Context, c candidate) (*Target, error) {
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
func (r *Resolver) single(ctx context.Context, top ocispec.Descriptor, wanted []string) ([]*Target, error) {
	t, err := r.load(ctx, top, nil)
	if err != nil {
		return nil, err
	}
	if err := r.placeBySet(t); err != nil {
		return nil, err
	}
	if t.PlatformName() == "" {
		return []*Target{t}, r.refuseUnnamed(wanted)
	}
	if _, err := r.choose(ctx, []candidate{{desc: top, platform: t.platform, form: t.Form}}, wanted); err != nil {
		return nil, err
	}
	return []*Target{t}, nil
}

// refuseUnnamed refuses an artifact that names no platform where one was asked
// for.
func (r *Resolver) refuseUnnamed(wanted []string) error {
	if len(wanted) == 0 || wanted[0] == "all" {
		return nil
	}
	p, err := wantedPlatform(wanted[0])
	if err != nil {
		return err
	}
	return &PlatformError{Reference: r.Reference, Wanted: p.String(), Unnamed: true}
}

// placeBySet gives an artifact that names no platform the one that the caller
// says.
func (r *Resolver) placeBySet(t *Target) error {
	if t.PlatformName() != "" {
		return nil
	}
	given, err := layout.WithSet(nil, r.Set)
	if err != nil {
		return err
	}
	t.platform, _, err = spec.ArtifactPlatform(given, nil)
	return err
}

// leaves walks an index and the indexes in it, and gives all entries that are
// no index, each digest once for each platform.
func (r *Resolver) leaves(ctx context.Context, top ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	if !spec.IsIndex(top.MediaType) {
		return nil, spec.Refuse(spec.RuleMediaType, "", "%q is of media type %q, which is neither an image nor an index", r.Reference, top.MediaType)
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
		body, mediaType, err := r.Source.Manifest(ctx, d)
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
			case first(leafKey(entry.Digest, platform)):
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
