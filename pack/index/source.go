package index

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// diskTypeArtifact and diskTypeAttestation are the disktypes of content that is
// neither a boot set nor a container, nor says what it is. Ironic would take
// entries without a disktype for disks; it skips those with one that it does not
// know.
const (
	diskTypeArtifact    = "artifact"
	diskTypeAttestation = "attestation"
)

// annotationReference marks the attestations that BuildKit makes, and tells them
// from each other.
const annotationReference = "vnd.docker.reference.digest"

// reader is what manifests and configs are read from: a transport.Source, or the
// repository of the index.
type reader interface {
	Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error)
	Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
}

// repoReader reads from a repository.
type repoReader struct{ Repository }

func (r repoReader) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	d, body, err := r.Get(ctx, d.Digest.String())
	return body, d.MediaType, err
}

// content is a manifest that is to become an entry.
type content struct {
	desc     ocispec.Descriptor  // media type, digest and size, nothing else
	listed   *ocispec.Descriptor // as the index says that it comes from; nil if it stands alone
	manifest *ocispec.Manifest
	labels   map[string]string // of manifest and config
	platform *ocispec.Platform // as it says itself; nil if it does not
	image    bool              // it has the config of an image
}

// readContent reads a manifest, and its config if that is one of an image.
func readContent(ctx context.Context, r reader, d ocispec.Descriptor, body []byte) (*content, error) {
	c := &content{desc: ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: int64(len(body))}}
	var err error
	if c.manifest, err = spec.ParseManifest(d.MediaType, body); err != nil {
		return nil, err
	}
	notes := c.manifest.Annotations
	c.labels = notes
	if spec.IsConfig(c.manifest.Config.MediaType) {
		config, err := readConfig(ctx, r, c.manifest.Config)
		if err != nil {
			return nil, err
		}
		c.image = true
		c.labels = maps.Clone(config.Config.Labels)
		if c.labels == nil {
			c.labels = map[string]string{}
		}
		maps.Copy(c.labels, notes)
		if _, ok := spec.PlatformOf(&config.Platform); ok {
			c.platform = &config.Platform
		}
	}
	if c.platform == nil {
		// Netboot artifacts have no config that could say it.
		if p, err := spec.ParsePlatform("linux/" + c.labels[spec.LabelOSArch]); err == nil {
			c.platform = p.OCI()
		}
	}
	return c, nil
}

func readConfig(ctx context.Context, r reader, d ocispec.Descriptor) (*ocispec.Image, error) {
	if d.Size > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleDocumentSize, "", "the config has %d bytes, %d are permitted", d.Size, spec.MaxManifestSize)
	}
	body, err := r.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read the config: %w", err)
	}
	return spec.ParseConfig(raw)
}

// form is the form of the content, see spec.FormOf.
func (c *content) form() spec.Form { return spec.FormOf(c.manifest, c.listed) }

// netboot tells whether this is a boot set.
func (c *content) netboot() bool {
	switch form := c.form(); {
	case !form.BootTree():
		return false
	case form == spec.FormArtifact, form == spec.FormNboci, form == spec.FormPodman:
		return true
	}
	if c.labels[spec.LabelVersion] != "" || c.listed != nil && c.listed.Annotations[spec.LabelVersion] != "" {
		return true
	}
	return slices.ContainsFunc(c.manifest.Layers, func(l ocispec.Descriptor) bool { return l.MediaType == spec.MediaTypeFile })
}

// diskType says for which use the entry is.
func (c *content) diskType() string {
	switch {
	case c.manifest.Annotations[annotationDiskType] != "":
		return c.manifest.Annotations[annotationDiskType]
	case c.netboot():
		return spec.DiskTypeNetboot
	case c.listed != nil && c.listed.Annotations[annotationReference] != "":
		return diskTypeAttestation
	case c.image && c.manifest.ArtifactType == "":
		return spec.DiskTypeContainer
	}
	return diskTypeArtifact
}

// entry makes the index entry. What the user says wins over what the index says
// that the content comes from, and that wins over the content itself.
func (c *content) entry(o *AddOptions) (ocispec.Descriptor, error) {
	e := c.desc
	notes := map[string]string{}
	if disk := c.diskType(); disk != "" {
		notes[annotationDiskType] = disk
	}
	if c.netboot() {
		notes[spec.LabelVersion] = spec.Version
	}
	maps.Copy(notes, formAnnotations(c.manifest, c.labels))
	for _, k := range o.keys() {
		if v := c.manifest.Annotations[k]; v != "" {
			notes[k] = v
		}
	}
	e.ArtifactType = artifactType(c.manifest)
	if c.listed != nil {
		maps.Copy(notes, c.listed.Annotations)
		if c.listed.ArtifactType != "" {
			e.ArtifactType = c.listed.ArtifactType
		}
	}
	for k, v := range o.Annotations {
		if notes[k] = v; v == "" {
			delete(notes, k)
		}
	}
	if len(notes) > 0 {
		e.Annotations = notes
	}
	if o.ArtifactType != nil {
		e.ArtifactType = *o.ArtifactType
	}
	var err error
	e.Platform, err = c.entryPlatform(o)
	return e, err
}

// entryPlatform gives the platform of the entry.
func (c *content) entryPlatform(o *AddOptions) (*ocispec.Platform, error) {
	p := c.platform
	switch {
	case c.listed != nil && c.listed.Platform != nil:
		own := *c.listed.Platform
		p = &own
	case o.Platform != spec.Platform{}:
		p = o.Platform.OCI()
	case p != nil:
		known, _ := spec.PlatformOf(p)
		p = known.OCI()
	default:
		return nil, badUse("say it with --platform OS/ARCH[/VARIANT]; entries without a platform are taken for linux/amd64 by some tools",
			"%s does not say which platform it is for", c.desc.Digest)
	}
	if p.OSVersion == "" && c.netboot() {
		p.OSVersion = osVersion(c.labels)
	}
	return p, nil
}

// wrap makes an index of the single image that the tag names.
func (r *run) wrap(ctx context.Context, s *snapshot, d ocispec.Descriptor, body []byte) error {
	if spec.IsIndex(d.MediaType) {
		refusal := spec.Refuse(spec.RuleMediaType, "", "tag %q names a manifest list of docker, and an edit would make it say two things at once", r.tag)
		refusal.Advice = "make it an OCI index first: skopeo copy --all --format oci does, or podman manifest push --format oci"
		return refusal
	}
	c, err := readContent(ctx, repoReader{r.repo}, d, body)
	if err != nil {
		return err
	}
	if of := c.manifest.Annotations[spec.AnnotationIndexTag]; of != "" {
		return errChildTag(r.tag, of)
	}
	if !r.o.Wrap {
		return badUse("--wrap makes it an index with that image as its first entry", "tag %q names a single image and no index", r.tag)
	}
	e, err := c.entry(&AddOptions{})
	if err != nil {
		return err
	}
	s.doc, err = ociindex.New(nil).Insert(0, e)
	s.wrapped = true
	return err
}

// Source is where content comes from: an image, an artifact, or an index of
// them.
type Source struct {
	Name string // as the user wrote it, for messages
	transport.Source
}
