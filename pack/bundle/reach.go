package bundle

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// content is where manifests and blobs are read, all proved by their digests.
type content interface {
	Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error)
	Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
}

// reach is what the entries of a bundle lead to.
type reach struct {
	docs     content
	manifest map[digest.Digest]int64 // sizes
	blob     map[digest.Digest]int64 // of configs and layers
	subjects map[string]bool         // see subjectKey
	walked   map[string]bool         // the same, with the platforms
	// fail is told of a manifest that cannot be read or used. What it returns ends
	// the walk; after nil the walk goes on beside it.
	fail func(d digest.Digest, err error) error
}

func newReach(docs content) *reach {
	return &reach{
		docs: docs, manifest: map[digest.Digest]int64{}, blob: map[digest.Digest]int64{}, subjects: map[string]bool{}, walked: map[string]bool{},
		fail: func(_ digest.Digest, err error) error { return err },
	}
}

// add walks through a manifest that belongs to repository.
func (r *reach) add(ctx context.Context, repository string, d ocispec.Descriptor, platforms []spec.Platform) error {
	return r.walk(ctx, repository, d, platforms, 0)
}

func (r *reach) walk(ctx context.Context, repository string, d ocispec.Descriptor, platforms []spec.Platform, depth int) error {
	key := subjectKey(repository, d.Digest)
	way := key + " " + strings.Join(platformNames(platforms), ",")
	if r.walked[way] || ctx.Err() != nil {
		return ctx.Err()
	}
	// What cannot be read can still have something attached.
	r.walked[way], r.subjects[key] = true, true
	body, mt, err := r.docs.Manifest(ctx, d)
	if err != nil {
		return r.failed(ctx, d.Digest, err)
	}
	r.manifest[d.Digest] = int64(len(body))
	if !spec.IsIndex(mt) {
		return r.parts(ctx, d.Digest, mt, body)
	}
	if depth >= spec.MaxIndexDepth {
		return r.failed(ctx, d.Digest, spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d nested indexes", spec.MaxIndexDepth))
	}
	index, err := spec.ParseIndex(mt, body)
	if err != nil {
		return r.failed(ctx, d.Digest, err)
	}
	for _, child := range pick(index.Manifests, platforms) {
		if err := r.walk(ctx, repository, child, platforms, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (r *reach) parts(ctx context.Context, d digest.Digest, mt string, body []byte) error {
	m, err := spec.ParseManifest(mt, body)
	if err != nil {
		return r.failed(ctx, d, err)
	}
	for _, b := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if was, known := r.blob[b.Digest]; known && was != b.Size {
			err := spec.Refuse(spec.RuleSize, b.Digest.String(), "one manifest says %d bytes, another %d", was, b.Size)
			if err := r.failed(ctx, d, err); err != nil {
				return err
			}
			continue
		}
		r.blob[b.Digest] = b.Size
	}
	return nil
}

// failed passes on that the walk was ended, and tells fail of the rest.
func (r *reach) failed(ctx context.Context, d digest.Digest, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.fail(d, err)
}

// addImages walks through the entries that are images, and gives those that are
// attached to something, by name.
func (r *reach) addImages(ctx context.Context, entries []ocispec.Descriptor) (attached map[string]ocispec.Descriptor, err error) {
	attached = map[string]ocispec.Descriptor{}
	for _, e := range entries {
		name := entryName(e)
		if name == "" {
			continue
		}
		ref, err := transport.ParseBundleName(name)
		if err == nil {
			if _, _, ok := transport.AttachedTo(ref.Tag); ok {
				attached[name] = e
				continue
			}
		}
		platforms, perr := spec.BundlePlatforms(e)
		if err == nil {
			err = perr
		}
		if err != nil {
			if err := r.failed(ctx, e.Digest, fmt.Errorf("entry %q: %w", name, err)); err != nil {
				return nil, err
			}
		}
		if err := r.add(ctx, ref.Name, plain(e), platforms); err != nil {
			return nil, fmt.Errorf("image %q: %w", name, err)
		}
	}
	return attached, nil
}

// addAttached walks through what is attached to what was reached, and to each
// other, and gives the names of it. It takes them out of attached; what is left
// there belongs to nothing.
func (r *reach) addAttached(ctx context.Context, attached map[string]ocispec.Descriptor) ([]string, error) {
	var names []string
	for more := true; more; {
		more = false
		for _, name := range slices.Sorted(maps.Keys(attached)) {
			ref, err := transport.ParseBundleName(name)
			if err != nil {
				return nil, err
			}
			list, _, _ := transport.AttachedTo(ref.Tag)
			if !r.subjects[ref.Name+":"+list] {
				continue
			}
			if err := r.add(ctx, ref.Name, plain(attached[name]), nil); err != nil {
				return nil, fmt.Errorf("attachment %q: %w", name, err)
			}
			delete(attached, name)
			names, more = append(names, name), true
		}
	}
	return names, nil
}

// plain is a descriptor with what a look-up needs.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}
