package bundle

import (
	"context"
	"errors"
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

// Create makes a bundle at dst (oci: or oci-archive:), where none may be yet, of
// the images that the sources name: references to registries, or other bundles.
// With Options.Since it is a delta. A run that was ended goes on where it was.
//
// Until all is there nothing can be seen at dst. Errors are *spec.Refusal for
// content that is not what its digest says, *transport.NotFoundError, and errors
// of usage.
func Create(ctx context.Context, c *transport.Client, dst transport.Reference, refs []transport.Reference, o Options) (*Result, error) {
	return run(ctx, c, dst, refs, o, true)
}

// Add brings images into the bundle at dst, in the place of those that have their
// names there. What is there already is not fetched, and what nothing needs any
// more goes away. A delta is added as other bundles are; together with what dst has
// it must be whole.
func Add(ctx context.Context, c *transport.Client, dst transport.Reference, refs []transport.Reference, o Options) (*Result, error) {
	return run(ctx, c, dst, refs, o, false)
}

func run(ctx context.Context, c *transport.Client, dst transport.Reference, refs []transport.Reference, o Options, create bool) (*Result, error) {
	// Before the lock, which makes the directory.
	target, err := openTarget(dst, create)
	if target != nil {
		_ = target.Close() // it is read again under the lock
	}
	if err != nil {
		return nil, err
	}
	src, err := openSources(refs, o.Platforms)
	if err != nil {
		return nil, err
	}
	defer src.close()
	unlock, err := lock(ctx, c, dst)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if target, err = openTarget(dst, create); err != nil {
		return nil, err
	}
	if target != nil {
		defer target.Close()
	}
	w, err := openWork(ctx, c, workOf(dst))
	if err != nil {
		return nil, err
	}
	defer w.close()
	done := &Result{Bundle: dst.String(), Delta: o.Since != nil, Images: []Change{}}
	b := &builder{collector: newCollector(c, target, w, o), dst: dst, done: done}
	if err := b.collect(ctx, src.images); err != nil {
		return nil, err
	}
	if err := b.decide(ctx); err != nil {
		return nil, err
	}
	if err := b.publish(ctx); err != nil {
		return nil, fmt.Errorf("write %q: %w", dst, err)
	}
	return done, nil
}

// openTarget gives what is at dst, which has to be a whole bundle or, to be
// created, nothing.
func openTarget(dst transport.Reference, create bool) (*transport.Bundle, error) {
	b, err := transport.OpenBundleTarget(dst)
	if err != nil {
		return nil, err
	}
	var p *problem
	switch {
	case b == nil && !create:
		return nil, &problem{fmt.Sprintf("there is no bundle %q", dst), "nbpack bundle create makes one", 4}
	case b == nil:
		return nil, nil
	case create:
		p = &problem{fmt.Sprintf("%q is a bundle already", dst), "nbpack bundle add puts images into it", 2}
	case isDelta(b):
		p = &problem{fmt.Sprintf("%q is a delta, and nothing is added to that", dst), "add it to the bundle that it was made for", 2}
	default:
		return b, nil
	}
	return nil, errors.Join(p, b.Close())
}

// lock keeps other writers away: of a layout all of them, of an archive those of
// bundles.
func lock(ctx context.Context, c *transport.Client, dst transport.Reference) (func(), error) {
	if dst.Transport == transport.OCIArchive {
		dst = transport.Reference{Transport: transport.OCI, Name: workOf(dst)}
	}
	repo, err := c.Repository(ctx, dst)
	if err != nil {
		return nil, err
	}
	return repo.Lock(ctx)
}

// builder is one Create or Add.
type builder struct {
	*collector
	dst     transport.Reference
	entries []ocispec.Descriptor // of index.json
	index   []byte
	need    *reach // with the mark of a delta
	left    map[digest.Digest]bool
	done    *Result
}

// decide makes the new index.json and finds out which blobs it needs.
func (b *builder) decide(ctx context.Context) error {
	var old []ocispec.Descriptor
	if b.target != nil {
		old = b.target.Entries()
	}
	images := slices.Collect(maps.Values(b.images))
	for _, e := range old {
		if _, again := b.images[entryName(e)]; !again && !b.opts.Prune {
			images = append(images, e)
		}
	}
	b.need = newReach(nearest(b.near()))
	attached, err := b.need.addImages(ctx, images)
	if err != nil {
		return err
	}
	b.forget(attached)
	maps.Copy(attached, b.attached)
	all := maps.Clone(attached)
	names, err := b.need.addAttached(ctx, attached)
	if err != nil {
		return err
	}
	b.entries = slices.DeleteFunc(images, isAttached)
	for _, name := range names {
		b.entries = append(b.entries, all[name])
	}
	b.compare(old)
	b.count()
	if err := b.leaveOut(ctx); err != nil {
		return err
	}
	b.index, err = indexFile(b.entries)
	return err
}

// forget takes those attachments out whose images were looked at now: what is
// attached to them is known anew.
func (b *builder) forget(attached map[string]ocispec.Descriptor) {
	maps.DeleteFunc(attached, func(name string, _ ocispec.Descriptor) bool {
		ref, err := transport.ParseBundleName(name)
		list, _, _ := transport.AttachedTo(ref.Tag)
		return err != nil || b.visited[ref.Name+":"+list] != nil
	})
}

// isAttached tells whether an entry is attached to an image.
func isAttached(e ocispec.Descriptor) bool {
	ref, err := transport.ParseBundleName(entryName(e))
	if err != nil {
		return false
	}
	return transport.IsAttachment(ref.Tag)
}

// count counts configs and layers.
func (b *builder) count() {
	b.left = map[digest.Digest]bool{}
	blobs, bytes := &b.done.Blobs, &b.done.Bytes
	for d, size := range b.need.blob {
		if b.opts.Since[d] {
			b.left[d] = true
			blobs.Omitted++
			bytes.Omitted += size
			continue
		}
		blobs.Kept++
		bytes.Kept += size
	}
	blobs.Fetched, bytes.Fetched = b.work.fetched.Load(), b.work.fetchedBytes.Load()
	blobs.Kept -= blobs.Fetched
	bytes.Kept -= bytes.Fetched
}

// leaveOut marks a delta with what it leaves out.
func (b *builder) leaveOut(ctx context.Context) error {
	if !b.done.Delta {
		return nil
	}
	mark, err := omit(b.left)
	if err != nil {
		return err
	}
	for d, body := range mark.blobs {
		if err := b.work.put(d, body); err != nil {
			return err
		}
		delete(b.left, d)
	}
	b.entries = append(b.entries, mark.entry)
	return b.need.add(ctx, "", plain(mark.entry), nil)
}

// compare finds out what became of the images.
func (b *builder) compare(old []ocispec.Descriptor) {
	was := map[string]ocispec.Descriptor{}
	for _, e := range old {
		was[entryName(e)] = e
	}
	change := func(e ocispec.Descriptor, what string) {
		if entryName(e) != "" && !isAttached(e) {
			platforms, _ := spec.BundlePlatforms(e) // it was read before
			b.done.Images = append(b.done.Images, Change{entryName(e), e.Digest, platformNames(platforms), what})
		}
	}
	for _, e := range b.entries {
		before, there := was[entryName(e)]
		delete(was, entryName(e))
		switch {
		case !there:
			change(e, Added)
		case before.Digest != e.Digest || before.Annotations[spec.AnnotationBundlePlatforms] != e.Annotations[spec.AnnotationBundlePlatforms]:
			change(e, Updated)
		default:
			change(e, Unchanged)
		}
	}
	for _, e := range was {
		change(e, Removed)
	}
	slices.SortFunc(b.done.Images, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
}

// nearest reads from the first place that can.
type nearest []content

// Manifest implements content.
func (n nearest) Manifest(ctx context.Context, d ocispec.Descriptor) (body []byte, mt string, err error) {
	for _, src := range n {
		if body, mt, err = src.Manifest(ctx, d); err == nil || ctx.Err() != nil {
			return body, mt, err
		}
	}
	return nil, "", err
}

// Blob implements content.
func (n nearest) Blob(ctx context.Context, d ocispec.Descriptor) (r io.ReadCloser, err error) {
	for _, src := range n {
		if r, err = src.Blob(ctx, d); err == nil || ctx.Err() != nil {
			return r, err
		}
	}
	return nil, err
}
