package pack

import (
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/index"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// indexPlatform is the platform of the entry in an index.
func (o *Options) indexPlatform() spec.Platform {
	p := o.Platform
	if o.OSName != "" && o.OSVersion != "" {
		p.OSVersion = o.OSName + "-" + o.OSVersion
	}
	return p
}

// place gives where a manifest is published: at the destination, or under the
// tag of its own if the destination is that of its index.
func (p *Plan) place(m planned, dst transport.Reference) (transport.Reference, error) {
	if p.options.IndexTag == "" {
		return dst, nil
	}
	entry := ocispec.Descriptor{ArtifactType: m.artifactType, Platform: p.options.indexPlatform().OCI()}
	if disk := m.annotations[spec.AnnotationDiskType]; disk != "" {
		entry.Annotations = map[string]string{spec.AnnotationDiskType: disk}
	}
	var err error
	dst.Tag, err = index.ChildTag(p.options.IndexTag, entry)
	return dst, err
}

// checkIndex refuses destinations that cannot hold an index and its children.
func (p *Plan) checkIndex(dst transport.Reference) error {
	if p.options.IndexTag == "" {
		return nil
	}
	const hint = "an index is kept in a registry, HOST/REPOSITORY:TAG, or in a layout, oci:DIR:TAG"
	if dst.Transport != transport.Docker && dst.Transport != transport.OCI {
		return badOption(hint, "%q holds a single image, so there is no index to put it into", dst)
	}
	if dst.Tag != p.options.IndexTag || dst.Digest != "" {
		return badOption(hint, "%q is not the tag of an index", dst)
	}
	for _, m := range p.manifests() {
		child, err := p.place(m, dst)
		if err != nil {
			return err
		}
		if back, err := transport.ParseReference(child.String()); err != nil || back != child {
			return badOption("choose a shorter tag for the index", "what goes into the index would have the tag %q, which cannot be written there", child.Tag)
		}
	}
	return nil
}
