package resolve

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// Target is one manifest that was chosen, with everything that can be known of it
// before a layer is read: its documents are within the rules of the format and do not
// contradict each other. It is not to be changed.
type Target struct {
	// Descriptor is that of the manifest, as it was read.
	Descriptor ocispec.Descriptor
	// Form is what the manifest is: FormImage, or one that names files.
	Form spec.Form
	// Manifest is parsed from ManifestBytes.
	Manifest      *ocispec.Manifest
	ManifestBytes []byte
	// ConfigBytes are the config of an image; nil where the manifest names files.
	ConfigBytes []byte
	// Labels are the netboot labels, from wherever the form has them.
	Labels map[string]string
	// Created is when the publisher says that it was made; nil if he does not.
	Created *time.Time
	// Holds is what each layer of the manifest holds, in its order: a file, or a tar
	// whose directory is "." for an image. It has no path for the
	// placeholder of an artifact without files.
	Holds []spec.ArtifactLayer

	entry    *ocispec.Descriptor // of the index that led here; nil without one
	config   *ocispec.Image      // from ConfigBytes
	platform spec.Platform       // zero where an artifact names none
}

// PlatformName is the platform as records and reports have it: empty where the
// artifact names none.
func (t *Target) PlatformName() string {
	if t.platform == (spec.Platform{}) {
		return ""
	}
	return t.platform.String()
}

// Image is what spec.Check judges; the caller adds what was read from the layers.
func (t *Target) Image() *spec.Image {
	return &spec.Image{MediaType: t.Descriptor.MediaType, Manifest: t.Manifest, Config: t.config, Entry: t.entry}
}

// load reads the documents of one manifest and what they say. entry is the
// descriptor that an index has for it, or nil.
func (r *Resolver) load(ctx context.Context, d ocispec.Descriptor, entry *ocispec.Descriptor) (*Target, error) {
	t := &Target{Descriptor: d, entry: entry}
	if r.Admit != nil {
		if err := r.Admit(ctx, d); err != nil {
			return nil, fmt.Errorf("%q: %w", r.Reference, err)
		}
	}
	var err error
	if t.ManifestBytes, t.Descriptor.MediaType, err = r.Document(ctx, d); err != nil {
		return nil, err
	}
	t.Descriptor.Size = int64(len(t.ManifestBytes))
	if t.Manifest, err = spec.ParseManifest(t.Descriptor.MediaType, t.ManifestBytes); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	t.Form = spec.FormOf(t.Manifest, entry)
	if err := t.refuseNoTree(); err != nil {
		return nil, err
	}
	if t.Form.NamesFiles() {
		return t, t.readArtifact()
	}
	if t.ConfigBytes, err = r.configOf(ctx, t); err != nil {
		return nil, fmt.Errorf("read the config of %s: %w", d.Digest, err)
	}
	if t.config, err = spec.ParseConfig(t.ConfigBytes); err != nil {
		return nil, fmt.Errorf("config of %s: %w", d.Digest, err)
	}
	return t, t.readImage()
}

// Recall gives the target of a manifest that is installed already, by its digest. What
// an index entry said of it then stands in Memory. Errors are those of Targets.
func (r *Resolver) Recall(ctx context.Context, name string) (*Target, error) {
	t, err := r.load(ctx, ocispec.Descriptor{Digest: digest.Digest(name), Size: -1}, nil)
	if err != nil {
		return nil, err
	}
	known, err := r.known(t.Descriptor.Digest)
	if err != nil || known == nil || !t.Form.NamesFiles() {
		return t, err
	}
	t.Labels = known.Labels
	if p, err := spec.ParsePlatform(known.Platform); err == nil {
		t.platform = p
	}
	return t, nil
}

// configOf reads the config of an image, unless it is remembered.
func (r *Resolver) configOf(ctx context.Context, t *Target) ([]byte, error) {
	if known, _ := r.known(t.Descriptor.Digest); known != nil && len(known.Config) > 0 {
		return known.Config, nil
	}
	return readSmall(ctx, r.Source, t.Manifest.Config, spec.MaxManifestSize)
}

// refuseNoTree refuses what is not meant to be laid out.
func (t *Target) refuseNoTree() error {
	use := spec.DiskTypeOf(t.Manifest, t.entry)
	switch {
	case t.Form == spec.FormTombstone:
		return spec.Refuse(spec.RuleBootTree, "", "manifest %s is the mark of an index entry that was removed", t.Descriptor.Digest)
	case t.Form == spec.FormFile:
		return spec.Refuse(spec.RuleBootTree, "", "manifest %s is a single file with the disktype %q, and no boot tree", t.Descriptor.Digest, use)
	case t.Form.NamesFiles() && use != "" && use != spec.DiskTypeNetboot:
		return spec.Refuse(spec.RuleBootTree, "", "manifest %s has the disktype %q, and is no boot tree", t.Descriptor.Digest, use)
	case t.Form == spec.FormImage && !spec.IsConfig(t.Manifest.Config.MediaType):
		return spec.Refuse(spec.RuleMediaType, "", "manifest %s has a config of type %q and no titles: it is neither an image nor an artifact of named files",
			t.Descriptor.Digest, t.Manifest.Config.MediaType)
	}
	return nil
}

// readImage derives platform, labels and what the layers of an image hold, and refuses what
// contradicts itself before a layer is fetched.
func (t *Target) readImage() error {
	var ok bool
	if t.platform, ok = spec.PlatformOf(&t.config.Platform); !ok {
		return spec.Refuse(spec.RulePlatform, "", "the config of %s names no platform", t.Descriptor.Digest)
	}
	var err error
	if t.Labels, err = spec.MergeLabels(t.config.Config.Labels, t.Manifest.Annotations); err != nil {
		return err
	}
	if err := t.checkDocuments(); err != nil {
		return err
	}
	t.Created = t.config.Created
	for i := range t.Manifest.Layers {
		t.Holds = append(t.Holds, spec.ArtifactLayer{Path: ".", Dir: true, Digest: t.config.RootFS.DiffIDs[i]})
	}
	return nil
}

// readArtifact does the same for a manifest that names its files.
func (t *Target) readArtifact() error {
	if err := t.checkDocuments(); err != nil {
		return err
	}
	var err error
	if t.Labels, err = spec.ArtifactLabels(t.Manifest, t.entry); err != nil {
		return err
	}
	if t.platform, _, err = spec.ArtifactPlatform(t.Labels, t.entry); err != nil {
		return err
	}
	if when, err := time.Parse(time.RFC3339, t.Manifest.Annotations[ocispec.AnnotationCreated]); err == nil {
		t.Created = &when
	}
	for _, l := range t.Manifest.Layers {
		holds, _, err := spec.ParseArtifactLayer(l)
		if err != nil {
			return err
		}
		t.Holds = append(t.Holds, holds)
	}
	return nil
}

func (t *Target) checkDocuments() error {
	return spec.FirstError(spec.CheckDocuments(t.Image()))
}
