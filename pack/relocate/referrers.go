package relocate

import (
	"context"
	"errors"
	"slices"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// referrers carries the manifests whose subject is d, and gives their digests.
// Their content comes first, then the list under the tag, as it is if there is none
// yet, and then what still is not found is listed.
func (c *carrier) referrers(ctx context.Context, d digest.Digest) (carried []digest.Digest, err error) {
	wanted, err := c.src.Referrers(ctx, d, "")
	if err != nil {
		return nil, err
	}
	// Where there is an API, the tag may still have what came before it.
	tag, err := c.readTag(ctx, fallbackTag(d))
	if err != nil {
		return nil, err
	}
	wanted = tag.addTo(wanted)
	var known, hidden []ocispec.Descriptor
	if len(wanted) > 0 {
		if known, err = c.repo.Referrers(ctx, d, ""); err != nil {
			return nil, err
		}
	}
	for _, one := range wanted {
		there, err := c.referrer(ctx, d, one)
		if err != nil {
			return nil, err
		}
		if !there {
			tag = nil // it cannot be as it was
			continue
		}
		carried = append(carried, one.Digest)
		if !hasDigest(known, one.Digest) {
			hidden = append(hidden, one)
		}
	}
	return carried, c.listAll(ctx, d, tag, hidden)
}

// listAll makes that what refers to d is found. tag may be nil.
func (c *carrier) listAll(ctx context.Context, d digest.Digest, tag *tagContent, hidden []ocispec.Descriptor) error {
	if tag == nil && len(hidden) == 0 {
		return nil
	}
	defer c.r.lock(c.path, d)()
	if tag != nil {
		if err := c.keepTag(ctx, tag); err != nil {
			return err
		}
	}
	for _, one := range hidden {
		if err := c.repo.PutReferrer(ctx, c.src, one); err != nil {
			return err
		}
	}
	return nil
}

func hasDigest(list []ocispec.Descriptor, d digest.Digest) bool {
	return slices.ContainsFunc(list, func(o ocispec.Descriptor) bool { return o.Digest == d })
}

// referrer brings the content of what is listed as a referrer of d; false if there
// is no such thing.
func (c *carrier) referrer(ctx context.Context, d digest.Digest, one ocispec.Descriptor) (bool, error) {
	_, there, err := c.repo.Head(ctx, one.Digest.String())
	if err != nil || there && !c.r.o.Recheck {
		return there, err
	}
	body, mediaType, err := c.src.Manifest(ctx, one)
	var absent *transport.NotFoundError
	if errors.As(err, &absent) {
		c.r.warn("%q: %s is listed as a referrer of %s, but is not there", c.job.from.Name, one.Digest, d)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if subjectOf(mediaType, body) != d {
		c.r.warn("%q: %s is listed as a referrer of %s, and does not refer to it", c.job.from.Name, one.Digest, d)
		return false, nil
	}
	if _, _, err := c.copy(ctx, one); err != nil {
		return false, err
	}
	c.job.changed = c.job.changed || !there
	return true, nil
}

// tagContent is what the source has under a tag for referrers.
type tagContent struct {
	tag   string
	desc  ocispec.Descriptor
	body  []byte
	index *ocispec.Index
}

// readTag gives nil if there is no such tag. What is there and no index lists
// nothing, and is copied like other companions.
func (c *carrier) readTag(ctx context.Context, tag string) (*tagContent, error) {
	ref := c.job.from
	ref.Tag, ref.Digest = tag, ""
	src, err := c.r.o.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	d, err := src.Resolve(ctx)
	var absent *transport.NotFoundError
	if errors.As(err, &absent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := &tagContent{tag: tag, desc: d}
	if t.body, t.desc.MediaType, err = src.Manifest(ctx, d); err != nil {
		return nil, err
	}
	if !spec.IsIndex(t.desc.MediaType) {
		return nil, c.companion(ctx, tag, d)
	}
	t.index, err = spec.ParseIndex(t.desc.MediaType, t.body)
	return t, err
}

// addTo gives list with the entries of the tag that it lacks.
func (t *tagContent) addTo(list []ocispec.Descriptor) []ocispec.Descriptor {
	if t == nil {
		return list
	}
	for _, d := range t.index.Manifests {
		if !hasDigest(list, d.Digest) {
			list = append(list, d)
		}
	}
	return list
}

// keepTag writes the list as it was, byte for byte, unless the destination has one
// of its own.
func (c *carrier) keepTag(ctx context.Context, t *tagContent) error {
	_, there, err := c.repo.Head(ctx, t.tag)
	if err != nil || there {
		return err
	}
	return c.tag(ctx, t.tag, t.desc, t.body)
}
