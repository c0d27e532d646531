package extract

import (
	"context"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// whatIs says in a few words what an entry is that is no boot tree.
func whatIs(d ocispec.Descriptor) string {
	use := d.Annotations[spec.AnnotationDiskType]
	_, placed := spec.PlatformOf(d.Platform)
	switch {
	case d.ArtifactType == spec.TombstoneType:
		return "removed"
	case use == spec.DiskTypeQcow2 || use == spec.DiskTypeRaw:
		return use + " disk"
	case use == spec.DiskTypeKernel || use == spec.DiskTypeRamdisk || use == spec.DiskTypeContainer:
		return use
	case use != "" && use != spec.DiskTypeNetboot:
		return fmt.Sprintf("disktype %q", use)
	case d.ArtifactType == spec.FileArtifactType:
		return "single file"
	case !spec.IsManifest(d.MediaType):
		return fmt.Sprintf("document of type %q", d.MediaType)
	case d.Platform != nil && d.Platform.OS == "unknown":
		return "attestation"
	case d.ArtifactType != "":
		return fmt.Sprintf("artifact of type %q", d.ArtifactType)
	case !placed:
		return "image without a platform"
	}
	return "container"
}

// ListTags lists the tags of a repository, or the names in a layout. With
// children it tells which of them belong to an index: a tag whose name could be
// that of a child is asked about that.
func ListTags(ctx context.Context, c *transport.Client, ref transport.Reference, children bool) (*Listing, error) {
	tags, err := c.Tags(ctx, ref)
	if err != nil {
		return nil, err
	}
	list := &Listing{Reference: ref.String(), Tags: tags}
	if !children {
		return list, nil
	}
	there := map[string]bool{}
	for _, tag := range tags {
		there[tag] = true
	}
	for _, tag := range tags {
		if !spec.MayBeChildTag(tag, there) {
			continue
		}
		index, err := parentOf(ctx, c, ref, tag)
		if err != nil {
			return nil, err
		}
		if !there[index] {
			continue
		}
		if list.Children == nil {
			list.Children = map[string]string{}
		}
		list.Children[tag] = index
	}
	return list, nil
}

// parentOf gives the tag of the index that the manifest under a tag says it
// belongs to, empty for none.
func parentOf(ctx context.Context, c *transport.Client, ref transport.Reference, tag string) (string, error) {
	ref.Tag, ref.Digest = tag, ""
	src, err := c.Source(ctx, ref)
	if err != nil {
		return "", err
	}
	defer src.Close()
	top, err := src.Resolve(ctx)
	var gone *transport.NotFoundError
	if errors.As(err, &gone) || err == nil && !spec.IsManifest(top.MediaType) {
		return "", nil // a tag may be removed while the others are looked at
	}
	if err != nil {
		return "", err
	}
	return IndexTag(ctx, src, top, tag)
}
