package bundle

import (
	"context"
	"fmt"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// image is one image on its way into a bundle.
type image struct {
	ref       transport.Reference // as it is named in its registry
	from      *transport.Bundle   // nil: the registry
	platforms []spec.Platform     // nil: all
}

// open begins to read the image.
func (im image) open(ctx context.Context, c *transport.Client) (transport.AttachmentSource, error) {
	if im.from != nil {
		return im.from.Source(im.ref)
	}
	src, err := c.Source(ctx, im.ref)
	if err != nil {
		return nil, err
	}
	return transport.Attachments(src)
}

// origin says for messages where the image is read.
func (im image) origin() string {
	if im.from != nil {
		return "a bundle"
	}
	return "its registry"
}

// sources are what a bundle is made from.
type sources struct {
	images  []image
	bundles []*transport.Bundle
}

// openSources finds out which images are meant. A reference to a registry is one;
// a bundle is all of its images, or the one that it is named with.
func openSources(refs []transport.Reference, platforms []spec.Platform) (*sources, error) {
	s := &sources{}
	for _, ref := range refs {
		if err := s.add(ref, platforms); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *sources) close() {
	for _, b := range s.bundles {
		_ = b.Close() // only read from
	}
}

func (s *sources) add(ref transport.Reference, platforms []spec.Platform) error {
	switch ref.Transport {
	case transport.Docker:
		if transport.IsAttachment(ref.Tag) && ref.Digest == "" {
			return &problem{fmt.Sprintf("%q is what is attached to an image", ref), "name the image: what is attached to it comes with it", 2}
		}
		s.images = append(s.images, image{ref: ref, platforms: platforms})
		return nil
	case transport.OCI, transport.OCIArchive:
		return s.addBundle(ref, platforms)
	}
	return &problem{fmt.Sprintf("%q is neither an image in a registry nor a bundle", ref), "name HOST/REPOSITORY:TAG, oci:DIR or oci-archive:FILE", 2}
}

// addBundle adds the images of a bundle. What is attached to them is found there.
func (s *sources) addBundle(ref transport.Reference, platforms []spec.Platform) error {
	b, err := transport.OpenBundle(transport.Reference{Transport: ref.Transport, Name: ref.Name})
	if err != nil {
		return err
	}
	s.bundles = append(s.bundles, b)
	found := false
	for _, entry := range b.Entries() {
		name := entryName(entry)
		if name == "" || ref.Tag != "" && name != ref.Tag && name != ref.Tag+"@"+ref.Digest.String() {
			continue
		}
		if transport.IsAttachment(name) {
			continue // as plain layouts have them; they are found by their images
		}
		named, err := transport.ParseBundleName(name)
		if err != nil {
			return &problem{fmt.Sprintf("%q in %q is no full reference, so it cannot be an image of a bundle", name, ref), "", 3}
		}
		if transport.IsAttachment(named.Tag) {
			continue
		}
		im := image{ref: named, from: b, platforms: platforms}
		if len(platforms) == 0 {
			if im.platforms, err = spec.BundlePlatforms(entry); err != nil {
				return err
			}
		}
		s.images = append(s.images, im)
		found = true
	}
	if !found {
		return &transport.NotFoundError{Ref: ref.String(), What: "any image with a full reference"}
	}
	return nil
}
