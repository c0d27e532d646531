package extract

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// target is one manifest that was chosen, with everything that can be known
// of it before a layer is read.
type target struct {
	desc          ocispec.Descriptor
	entry         *ocispec.Descriptor // of the index that led here; nil without one
	form          spec.Form
	manifest      *ocispec.Manifest
	config        *ocispec.Image // nil where the manifest names files
	manifestBytes []byte
	configBytes   []byte
	platform      spec.Platform     // zero where an artifact names none
	labels        map[string]string // netboot labels, from wherever the form has them
	created       *time.Time        // as the publisher says; nil if he does not
	// holds is what each layer of the manifest holds, in its order: a file, or a tar
	// whose directory is "." for an image. It is zero, without a path, for the
	// placeholder of an artifact without files.
	holds []spec.ArtifactLayer
}

// platformName is the platform as records and reports have it: empty where the
// artifact names none.
func (t *target) platformName() string {
	if t.platform == (spec.Platform{}) {
		return ""
	}
	return t.platform.String()
}

// load reads the documents of one manifest and what they say. entry is the
// descriptor that an index has for it, or nil.
func (r *resolver) load(ctx context.Context, d ocispec.Descriptor, entry *ocispec.Descriptor) (*target, error) {
	t := &target{desc: d, entry: entry}
	if r.admit != nil {
		if err := r.admit(ctx, d); err != nil {
			return nil, fmt.Errorf("%q: %w", r.ref, err)
		}
	}
	var err error
	if t.manifestBytes, t.desc.MediaType, err = r.document(ctx, d); err != nil {
		return nil, err
	}
	t.desc.Size = int64(len(t.manifestBytes))
	if t.manifest, err = spec.ParseManifest(t.desc.MediaType, t.manifestBytes); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	t.form = spec.FormOf(t.manifest, entry)
	if err := t.refuseNoTree(); err != nil {
		return nil, err
	}
	if t.form.NamesFiles() {
		return t, t.readArtifact()
	}
	if t.configBytes, err = r.configOf(ctx, t); err != nil {
		return nil, fmt.Errorf("read the config of %s: %w", d.Digest, err)
	}
	if t.config, err = spec.ParseConfig(t.configBytes); err != nil {
		return nil, fmt.Errorf("config of %s: %w", d.Digest, err)
	}
	return t, t.readImage()
}

// recall loads a manifest that is installed already. What an index entry said of
// it then stands in the record.
func (r *resolver) recall(ctx context.Context, name string) (*target, error) {
	t, err := r.load(ctx, ocispec.Descriptor{Digest: digest.Digest(name), Size: -1}, nil)
	if err != nil {
		return nil, err
	}
	known, err := r.mem.Image(name)
	if err != nil || known == nil || !t.form.NamesFiles() {
		return t, err
	}
	t.labels = known.Labels
	if p, err := spec.ParsePlatform(known.Platform); err == nil {
		t.platform = p
	}
	return t, nil
}

// configOf reads the config of an image, unless a record has it.
func (r *resolver) configOf(ctx context.Context, t *target) ([]byte, error) {
	if known, _ := r.mem.Image(t.desc.Digest.String()); known != nil && len(known.Config) > 0 {
		return known.Config, nil
	}
	return readSmall(ctx, r.src, t.manifest.Config, spec.MaxManifestSize)
}

// refuseNoTree refuses what is not meant to be laid out.
func (t *target) refuseNoTree() error {
	use := spec.DiskTypeOf(t.manifest, t.entry)
	switch {
	case t.form == spec.FormTombstone:
		return spec.Refuse(spec.RuleBootTree, "", "manifest %s is the mark of an index entry that was removed", t.desc.Digest)
	case t.form == spec.FormFile:
		return spec.Refuse(spec.RuleBootTree, "", "manifest %s is a single file with the disktype %q, and no boot tree", t.desc.Digest, use)
	case t.form.NamesFiles() && use != "" && use != spec.DiskTypeNetboot:
		return spec.Refuse(spec.RuleBootTree, "", "manifest %s has the disktype %q, and is no boot tree", t.desc.Digest, use)
	case t.form == spec.FormImage && !spec.IsConfig(t.manifest.Config.MediaType):
		return spec.Refuse(spec.RuleMediaType, "", "manifest %s has a config of type %q and no titles: it is neither an image nor an artifact of named files",
			t.desc.Digest, t.manifest.Config.MediaType)
	}
	return nil
}

// readImage derives platform, labels and what the layers of an image hold, and refuses what
// contradicts itself before a layer is fetched.
func (t *target) readImage() error {
	var ok bool
	if t.platform, ok = spec.PlatformOf(&t.config.Platform); !ok {
		return spec.Refuse(spec.RulePlatform, "", "the config of %s names no platform", t.desc.Digest)
	}
	var err error
	if t.labels, err = spec.MergeLabels(t.config.Config.Labels, t.manifest.Annotations); err != nil {
		return err
	}
	if err := t.checkDocuments(); err != nil {
		return err
	}
	t.created = t.config.Created
	for i := range t.manifest.Layers {
		t.holds = append(t.holds, spec.ArtifactLayer{Path: ".", Dir: true, Digest: t.config.RootFS.DiffIDs[i]})
	}
	return nil
}

// readArtifact does the same for a manifest that names its files.
func (t *target) readArtifact() error {
	if err := t.checkDocuments(); err != nil {
		return err
	}
	var err error
	if t.labels, err = spec.ArtifactLabels(t.manifest, t.entry); err != nil {
		return err
	}
	if t.platform, _, err = spec.ArtifactPlatform(t.labels, t.entry); err != nil {
		return err
	}
	if when, err := time.Parse(time.RFC3339, t.manifest.Annotations[ocispec.AnnotationCreated]); err == nil {
		t.created = &when
	}
	for _, l := range t.manifest.Layers {
		holds, _, err := spec.ParseArtifactLayer(l)
		if err != nil {
			return err
		}
		t.holds = append(t.holds, holds)
	}
	return nil
}

func (t *target) checkDocuments() error {
	return spec.FirstError(spec.CheckDocuments(t.image()))
}

// image is what the format's rules judge; the caller adds what was read.
func (t *target) image() *spec.Image {
	return &spec.Image{MediaType: t.desc.MediaType, Manifest: t.manifest, Config: t.config, Entry: t.entry}
}
