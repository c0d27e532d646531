package transport

import (
	"context"
	"fmt"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// maxCopyManifests bounds what one Copy brings: an index can name indexes.
const maxCopyManifests = 1 << 14

// Copy brings d from src, and everything below it: configs and layers of any
// media type, also those that have urls, and what indexes name. Bytes stay as
// they are and are checked on the way; what refers to something comes after
// it, by digest. What is there already is not sent again, and blobs of another
// repository of the same registry are mounted.
func (r *Repository) Copy(ctx context.Context, src Source, d ocispec.Descriptor) error {
	return r.CopyWith(ctx, src, d, CopyOptions{})
}

// CopyWith is as Copy, with options. When several goroutines copy to one
// Repository, what they have in common is sent once.
func (r *Repository) CopyWith(ctx context.Context, src Source, d ocispec.Descriptor, o CopyOptions) error {
	t := &treeCopy{src: src, to: r.store.copies(src, o), told: o.Manifest, seen: map[digest.Digest]bool{}, blobs: map[digest.Digest]int64{}}
	if err := t.manifest(ctx, d, 0); err != nil {
		return fmt.Errorf("copy %s to %q: %w", d.Digest, r.ref, err)
	}
	return nil
}

// treeCopy is one Copy. It holds the documents on the way to the one it is at,
// and no others.
type treeCopy struct {
	src   Source
	to    copier
	told  func(ocispec.Descriptor, []byte) // may be nil
	seen  map[digest.Digest]bool           // manifests that are done
	blobs map[digest.Digest]int64
}

// manifest copies a manifest or index after what it names. depth counts the
// indexes above it.
func (t *treeCopy) manifest(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if t.seen[d.Digest] {
		return nil
	}
	if len(t.seen) >= maxCopyManifests {
		return spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d manifests to copy", maxCopyManifests)
	}
	body, mt, err := t.src.Manifest(ctx, d)
	if err != nil {
		return err
	}
	t.seen[d.Digest] = true
	d = ocispec.Descriptor{MediaType: mt, Digest: d.Digest, Size: int64(len(body))}
	if spec.IsIndex(mt) {
		err = t.children(ctx, d, body, depth)
	} else {
		err = t.parts(ctx, mt, body)
	}
	if err != nil {
		return err
	}
	if err := t.to.manifest(ctx, d, body); err != nil {
		return err
	}
	if t.told != nil {
		t.told(d, body)
	}
	return nil
}

func (t *treeCopy) children(ctx context.Context, d ocispec.Descriptor, body []byte, depth int) error {
	if depth >= spec.MaxIndexDepth {
		return spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d nested indexes", spec.MaxIndexDepth)
	}
	index, err := spec.ParseIndex(d.MediaType, body)
	if err != nil {
		return err
	}
	for _, child := range index.Manifests {
		if err := t.manifest(ctx, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// parts copies config and layers, several at once.
func (t *treeCopy) parts(ctx context.Context, mt string, body []byte) error {
	m, err := spec.ParseManifest(mt, body)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelUploads)
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if size, ok := t.blobs[d.Digest]; ok && size == d.Size {
			continue
		}
		t.blobs[d.Digest] = d.Size
		g.Go(func() error { return t.to.blob(gctx, d) })
	}
	return g.Wait()
}
