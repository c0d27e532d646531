package bundle

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// parallelImages and parallelBlobs, of each, are fetched at once.
	parallelImages = 4
	parallelBlobs  = 3
	// maxManifests bounds what one image may name, since indexes name indexes.
	maxManifests = 1 << 14
	// maxAttached bounds how far what is attached has things attached to it.
	maxAttached = 4
)

// collector brings images and what is attached to them into the work directory.
type collector struct {
	client *transport.Client
	target *transport.Bundle // what is there; nil: nothing
	work   *work
	opts   Options
	blobs  blobSet

	mu        sync.Mutex
	images    map[string]ocispec.Descriptor         // entries, by name
	origins   map[string]string                     // where they are from, for messages, by name
	attached  map[string]ocispec.Descriptor         // entries of what is attached, by name
	referrers map[string]referrers                  // lists of what refers to manifests, by name
	visited   map[string]map[*transport.Bundle]bool // where was asked for what is attached, by subject
	tags      map[tagsOf]*tagList
}

func newCollector(c *transport.Client, target *transport.Bundle, w *work, o Options) *collector {
	return &collector{
		client: c, target: target, work: w, opts: o, blobs: newBlobSet(),
		images: map[string]ocispec.Descriptor{}, origins: map[string]string{},
		attached: map[string]ocispec.Descriptor{}, referrers: map[string]referrers{},
		visited: map[string]map[*transport.Bundle]bool{}, tags: map[tagsOf]*tagList{},
	}
}

// collect brings all images. What failed for one ends the rest.
func (c *collector) collect(ctx context.Context, images []image) error {
	g, all := errgroup.WithContext(ctx)
	g.SetLimit(parallelImages)
	for _, im := range images {
		if all.Err() != nil {
			break
		}
		g.Go(func() error {
			if err := c.image(all, im); err != nil {
				return fmt.Errorf("image %q: %w", transport.BundleName(im.ref), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // the rest was not begun
	}
	return c.listReferrers()
}

func (c *collector) image(ctx context.Context, im image) error {
	src, err := im.open(ctx, c.client)
	if err != nil {
		return err
	}
	defer src.Close()
	top, err := src.Resolve(ctx)
	if err != nil {
		return err
	}
	v := &visit{c: c, im: im, src: src, seen: map[digest.Digest]ocispec.Descriptor{}}
	d, err := v.manifest(ctx, top, im.platforms, 0, 0)
	if err != nil {
		return err
	}
	return c.record(im, d)
}

// record notes an entry. The same image from two places must be the same.
func (c *collector) record(im image, d ocispec.Descriptor) error {
	name, origin := transport.BundleName(im.ref), im.origin()
	e := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Annotations: map[string]string{ocispec.AnnotationRefName: name}}
	platforms := im.platforms
	if !spec.IsIndex(d.MediaType) {
		platforms = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, twice := c.images[name]; twice {
		if was.Digest != e.Digest {
			return &problem{fmt.Sprintf("it is %s in %s and %s in %s", was.Digest, c.origins[name], e.Digest, origin), "name the one that is meant", 2}
		}
		other, err := spec.BundlePlatforms(was)
		if err != nil {
			return err
		}
		if platforms = slices.Concat(platforms, other); other == nil || im.platforms == nil {
			platforms = nil // one of them has all
		}
	}
	setPlatforms(&e, platforms)
	c.images[name], c.origins[name] = e, origin
	return nil
}

// visit is the way through one image.
type visit struct {
	c       *collector
	im      image
	src     transport.AttachmentSource
	seen    map[digest.Digest]ocispec.Descriptor
	leaves  int      // manifests in indexes
	offered []string // platforms that these indexes have
}

// manifest brings a manifest or index with all that it needs, and what is attached
// to it. depth counts the indexes above it, far the attachments below each other.
func (v *visit) manifest(ctx context.Context, d ocispec.Descriptor, platforms []spec.Platform, depth, far int) (ocispec.Descriptor, error) {
	if was, ok := v.seen[d.Digest]; ok {
		return was, nil
	}
	body, mt, err := v.c.document(ctx, v.src, d)
	if err != nil {
		return d, err
	}
	d = ocispec.Descriptor{MediaType: mt, Digest: d.Digest, Size: int64(len(body))}
	if v.seen[d.Digest] = d; len(v.seen) > maxManifests {
		return d, spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "the image has more than %d manifests", maxManifests)
	}
	if spec.IsIndex(mt) {
		err = v.children(ctx, d, body, platforms, depth, far)
	} else {
		err = v.parts(ctx, mt, body)
	}
	if err == nil {
		err = v.attachments(ctx, d.Digest, far)
	}
	return d, err
}

func (v *visit) children(ctx context.Context, d ocispec.Descriptor, body []byte, platforms []spec.Platform, depth, far int) error {
	if depth >= spec.MaxIndexDepth {
		return spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d nested indexes", spec.MaxIndexDepth)
	}
	index, err := spec.ParseIndex(d.MediaType, body)
	if err != nil {
		return err
	}
	v.offered = append(v.offered, offered(index.Manifests)...)
	for _, child := range pick(index.Manifests, platforms) {
		if !spec.IsIndex(child.MediaType) {
			v.leaves++
		}
		if _, err := v.manifest(ctx, child, platforms, depth+1, far); err != nil {
			return err
		}
	}
	if depth == 0 && len(platforms) > 0 && v.leaves == 0 {
		return &transport.NotFoundError{Ref: v.im.ref.String(), What: fmt.Sprintf("any platform of %q", platformNames(platforms)), Have: v.offered}
	}
	return nil
}

// parts brings config and layers.
func (v *visit) parts(ctx context.Context, mt string, body []byte) error {
	m, err := spec.ParseManifest(mt, body)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelBlobs)
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		if v.c.opts.Since[d.Digest] {
			continue // what is left out is counted when all is known
		}
		g.Go(func() error { return v.c.blob(ctx, v.src, d) })
	}
	return g.Wait()
}

// document reads a manifest from where it is: the bundle, what an earlier run
// fetched, or the source, and then keeps it. What is damaged is fetched again.
func (c *collector) document(ctx context.Context, src transport.Source, d ocispec.Descriptor) ([]byte, string, error) {
	for _, near := range c.near() {
		body, mt, err := near.Manifest(ctx, d)
		if err == nil {
			return body, mt, nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err() // that it is not there is no news
		}
		if !isAbsent(err) && !isRefusal(err) {
			return nil, "", err
		}
		if isRefusal(err) {
			c.opts.logf("%v; it is fetched again", err)
		}
	}
	body, mt, err := src.Manifest(ctx, d)
	if err == nil {
		err = c.work.put(d.Digest, body)
	}
	return body, mt, err
}

// near are the places that ask no network.
func (c *collector) near() []content {
	if c.target == nil {
		return []content{c.work.src}
	}
	return []content{c.target, c.work.src}
}

// blob brings a config or layer, once in a run.
func (c *collector) blob(ctx context.Context, src transport.Source, d ocispec.Descriptor) error {
	return c.blobs.once(ctx, d.Digest, func() error {
		if c.target != nil && c.target.Has(d) {
			if !c.opts.Checksum {
				return nil
			}
			err := readThrough(ctx, c.target, d)
			if !isRefusal(err) {
				return err
			}
			c.opts.logf("%v; it is fetched again", err)
		}
		return c.work.fetch(ctx, src, d)
	})
}

// blobSet keeps two images from fetching the same blob.
type blobSet struct {
	mu    sync.Mutex
	calls map[digest.Digest]*blobCall
}

type blobCall struct {
	done chan struct{}
	err  error
}

func newBlobSet() blobSet { return blobSet{calls: map[digest.Digest]*blobCall{}} }

// once calls f unless it did for this blob. A source that lacks the blob is no
// failure yet: another may have it, and in the end there is a look at what is
// missing.
func (b *blobSet) once(ctx context.Context, d digest.Digest, f func() error) error {
	b.mu.Lock()
	call, begun := b.calls[d]
	if !begun {
		call = &blobCall{done: make(chan struct{})}
		b.calls[d] = call
	}
	b.mu.Unlock()
	if begun {
		select {
		case <-call.done:
			return call.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	call.err = f()
	if isAbsent(call.err) {
		b.mu.Lock()
		delete(b.calls, d)
		b.mu.Unlock()
		call.err = nil
	}
	close(call.done)
	return call.err
}
