package pack

import (
	"fmt"
	"slices"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// Format is what becomes of the sources.
type Format string

// The formats that Build writes.
const (
	// FormatImage is the netboot image: a file system with links, compressed,
	// which every container tool understands.
	FormatImage Format = "image"
	// FormatArtifact is the netboot artifact: each file as it is in a blob of
	// its own, without links.
	FormatArtifact Format = "artifact"
	// FormatFile makes an artifact of each source file, for consumers such as
	// Ironic that fetch one file by the digest of its manifest.
	FormatFile Format = "file"
)

// Formats gives the formats, the default first.
func Formats() []Format { return []Format{FormatImage, FormatArtifact, FormatFile} }

// ParseFormat accepts exactly the names of [Formats].
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("unknown format %q, use one of image, artifact, file", s)
}

// checkFormat completes what depends on the format, and refuses options that
// mean nothing to it.
func checkFormat(o *Options) error {
	if o.Format == "" {
		o.Format = FormatImage
	}
	if o.DiskType != "" && o.Format != FormatFile {
		return badOption("use it with --format file", "--disktype says what a single file is, so format %s has none", o.Format)
	}
	if o.Format == FormatImage {
		if o.Compression == "" {
			o.Compression = archive.ZstdChunked
		}
		return nil
	}
	const plain = "the files of an artifact are stored as they are, one to a layer"
	switch {
	case o.PerFileLayers:
		return badOption(plain, "format %s has no choice of layers", o.Format)
	case o.Compression != "" && o.Compression != archive.None:
		return badOption(plain, "format %s has no compression", o.Format)
	case len(o.Labels) > 0:
		return badOption("use --annotation", "format %s has no config that labels could stand in", o.Format)
	}
	o.Compression = archive.None
	if o.Format == FormatFile {
		return checkFileFormat(o)
	}
	return nil
}

// checkFileFormat refuses what only a boot tree has.
func checkFileFormat(o *Options) error {
	if o.Entrypoint != "" || o.AltEntrypoint != "" || o.LegacyEntrypoint != "" {
		return badOption("use --format image or artifact for a boot tree", "a single file has no entrypoints")
	}
	if o.DiskType != "" && !slices.Contains(fileTypes(), o.DiskType) {
		return badOption("use one of qcow2, raw, kernel, ramdisk", "unknown disktype %q", o.DiskType)
	}
	return nil
}

// fileTypes are the disktypes that a single file may have.
func fileTypes() []string {
	return []string{spec.DiskTypeQcow2, spec.DiskTypeRaw, spec.DiskTypeKernel, spec.DiskTypeRamdisk}
}
