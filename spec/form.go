package spec

import (
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Form is one of the shapes in which the manifests of the field hold boot files.
type Form string

// The forms. The first five are boot trees; netboot.md says how each is
// recognised and what it promises.
const (
	FormImage    Form = "image"    // a netboot image: tar layers, a config, SHA256SUM
	FormArtifact Form = "artifact" // a netboot artifact: one raw file to a layer
	FormNboci    Form = "nboci"    // files that were compressed one by one
	FormPodman   Form = "podman"   // named files, and an index entry that calls them netboot content
	FormTitled   Form = "titled"   // named files, as ORAS pushes them

	FormFile      Form = "file"      // one file that is fetched by itself, such as a disk
	FormTombstone Form = "tombstone" // what stands where an index's child was removed
)

// FormOf tells the form of a manifest. entry is the descriptor that an index has
// for it, nil where no index led here. What has none of the marks of another form
// is judged as an image.
func FormOf(m *ocispec.Manifest, entry *ocispec.Descriptor) Form {
	switch m.ArtifactType {
	case TombstoneType:
		return FormTombstone
	case FileArtifactType:
		return FormFile
	case ArtifactType:
		return FormArtifact
	}
	compressed := func(d ocispec.Descriptor) bool { return d.MediaType == MediaTypeFileZstd }
	switch {
	case slices.ContainsFunc(m.Layers, compressed):
		return FormNboci
	case !slices.ContainsFunc(m.Layers, titled):
		return FormImage
	case IsConfig(m.Config.MediaType) && !slices.ContainsFunc(m.Layers, notTar):
		return FormImage // ORAS writes titles on the layers of an image, too
	case entry != nil && entry.Annotations[LabelVersion] != "":
		return FormPodman
	}
	return FormTitled
}

func titled(d ocispec.Descriptor) bool { return d.Annotations[ocispec.AnnotationTitle] != "" }

func notTar(d ocispec.Descriptor) bool {
	_, err := LayerCodec(d.MediaType)
	return err != nil
}

// BootTree tells whether manifests of this form are laid out as boot trees.
func (f Form) BootTree() bool { return f == FormImage || f.NamesFiles() && f != FormFile }

// NamesFiles tells whether the layers are files that have their names in the
// manifest, so that no config is read.
func (f Form) NamesFiles() bool {
	switch f {
	case FormArtifact, FormNboci, FormPodman, FormTitled, FormFile:
		return true
	}
	return false
}

// DiskTypeOf gives the value of AnnotationDiskType for a manifest: what the index
// entry says, else what the manifest says itself. m or entry may be nil.
func DiskTypeOf(m *ocispec.Manifest, entry *ocispec.Descriptor) string {
	if entry != nil && entry.Annotations[AnnotationDiskType] != "" {
		return entry.Annotations[AnnotationDiskType]
	}
	if m != nil {
		return m.Annotations[AnnotationDiskType]
	}
	return ""
}

// BootEntry judges an index entry by what it says itself. may is false for what
// is no boot tree: other documents than manifests, disks, single files, what has
// no platform (attestations). marked tells that it calls itself netboot content,
// and so leaves those behind that do not.
func BootEntry(d ocispec.Descriptor) (may, marked bool) {
	if _, ok := PlatformOf(d.Platform); !ok || !IsManifest(d.MediaType) {
		return false, false
	}
	if d.ArtifactType == FileArtifactType || d.ArtifactType == TombstoneType {
		return false, false
	}
	switch d.Annotations[AnnotationDiskType] {
	case "", DiskTypeNetboot:
	default:
		return false, false
	}
	marked = d.Annotations[LabelVersion] != "" || d.Annotations[AnnotationDiskType] == DiskTypeNetboot ||
		d.ArtifactType == ArtifactType
	return true, marked
}
