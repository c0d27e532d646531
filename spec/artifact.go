package spec

import (
	"strings"
)

// Artifacts: boot files without a file system image around them. The first
// form is that of the netboot specification, the second one that of nboci.
const (
	// ArtifactType is the artifactType of a netboot artifact: one raw layer
	// for each file, named by its title.
	ArtifactType = "application/vnd.org.pulpproject.netboot.artifact.v1"
	// FileArtifactType is the artifactType of a single file (a kernel, a
	// ramdisk, a disk image) that is fetched by its own manifest.
	FileArtifactType = "application/vnd.org.pulpproject.netboot.file.v1"
	// MediaTypeFile is a layer that is one boot file, as it is.
	MediaTypeFile = "application/x-netboot-file"
	// MediaTypeFileZstd is a layer that is one boot file, compressed by zstd.
	MediaTypeFileZstd = MediaTypeFile + "+zstd"
)

// Annotations of an artifact's layer, and of manifests and index entries.
const (
	// AnnotationSrcDigest is the digest of a file before any compression.
	AnnotationSrcDigest = LabelPrefix + "src.digest"
	// AnnotationSrcSize is its length in bytes, decimal.
	AnnotationSrcSize = LabelPrefix + "src.size"
	// AnnotationDiskType says for which use an index entry is. Ironic takes
	// entries with the values of disk formats or without any; it skips others.
	AnnotationDiskType = "disktype"
	// AnnotationIndexTag names, in a manifest, the tag of the index that it
	// belongs to. Only manifests that say so count as children of that index.
	AnnotationIndexTag = LabelPrefix + "index.tag"
	// AnnotationIndexPlatform is the platform of that entry, as Platform
	// writes itself, with the os.version where it has one.
	AnnotationIndexPlatform = LabelPrefix + "index.platform"
	// AnnotationIndexCatalog, "1", marks an index whose entries are releases:
	// indexes or manifests, each named by org.opencontainers.image.ref.name.
	AnnotationIndexCatalog = LabelPrefix + "index.catalog"
)

// TombstoneType is the artifactType of a manifest that stands under the tag of
// an index's child which was removed, so that a concurrent writer of the index
// does not bring it back.
const TombstoneType = "application/vnd.org.pulpproject.netboot.tombstone.v1"

// The values of AnnotationDiskType that nbpack writes.
const (
	DiskTypeNetboot   = "netboot"   // a boot set, image or artifact
	DiskTypeQcow2     = "qcow2"     // a disk image
	DiskTypeRaw       = "raw"       // a disk image
	DiskTypeKernel    = "kernel"    // a single file
	DiskTypeRamdisk   = "ramdisk"   // a single file
	DiskTypeContainer = "container" // an image that container runtimes start
)

// ChildTag gives the tag of an index's child: the tag of the index, the
// architecture with its variant, and what it is, unless that is a netboot image.
// "fedora-42-armv7", "fedora-42-amd64-qcow2", "fedora-42-amd64-artifact".
func ChildTag(indexTag string, p Platform, kind string) string {
	parts := []string{indexTag, p.Arch()}
	if kind != "" && kind != DiskTypeNetboot {
		parts = append(parts, kind)
	}
	return strings.Join(parts, "-")
}

// MayBeChildTag tells whether a tag begins with one that is there, and a dash: as ChildTag
// makes them. What its manifest says decides.
func MayBeChildTag(tag string, there map[string]bool) bool {
	for i := range tag {
		if tag[i] == '-' && there[tag[:i]] {
			return true
		}
	}
	return false
}
