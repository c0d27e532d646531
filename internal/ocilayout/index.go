package ocilayout

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// BlobMode is what every tool gives the blobs of a layout; while they are being
// written they are the user's own.
const BlobMode = 0o644

// BlobName is where a layout keeps a blob, relative to it and with slashes. The
// digest must have been checked.
func BlobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// ParseBlobName tells which blob lies in a file of a layout, false for what is none.
func ParseBlobName(name string) (digest.Digest, bool) {
	rest, ok := strings.CutPrefix(name, ocispec.ImageBlobsDir+"/")
	algorithm, hex, parted := strings.Cut(rest, "/")
	if !ok || !parted {
		return "", false
	}
	d, err := spec.ParseDigest(algorithm + ":" + hex)
	return d, err == nil
}

// ReadIndex reads and checks oci-layout and index.json, and gives the bytes of the
// latter, too. The error wraps fs.ErrNotExist when one of them is missing, and is a
// *spec.Refusal for what they must not say.
func ReadIndex(f Files) (*ocispec.Index, []byte, error) {
	raw, err := ReadFile(f, ocispec.ImageLayoutFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", ocispec.ImageLayoutFile, err)
	}
	var layout ocispec.ImageLayout
	if err := spec.UnmarshalStrict(raw, &layout); err != nil {
		return nil, nil, fmt.Errorf("parse %s: %w", ocispec.ImageLayoutFile, err)
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return nil, nil, spec.Refuse(spec.RuleLayoutForm, ocispec.ImageLayoutFile, "layout version %q is not %q", layout.Version, ocispec.ImageLayoutVersion)
	}
	raw, err = ReadFile(f, ocispec.ImageIndexFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", ocispec.ImageIndexFile, err)
	}
	idx, err := ParseIndex(raw)
	return idx, raw, err
}

// ParseIndex reads an index.json. Nothing is known of the descriptors in it.
func ParseIndex(raw []byte) (*ocispec.Index, error) {
	var idx ocispec.Index
	if err := spec.UnmarshalStrict(raw, &idx); err != nil {
		return nil, fmt.Errorf("parse %s: %w", ocispec.ImageIndexFile, err)
	}
	if idx.SchemaVersion != 2 {
		return nil, spec.Refuse(spec.RuleLayoutForm, ocispec.ImageIndexFile, "schemaVersion is %d, not 2", idx.SchemaVersion)
	}
	if mt := idx.MediaType; mt != "" && mt != ocispec.MediaTypeImageIndex {
		return nil, spec.Refuse(spec.RuleMediaType, ocispec.ImageIndexFile, "media type is %q", mt)
	}
	return &idx, nil
}

// RefName is the name of an entry of index.json, empty if it has none.
func RefName(d ocispec.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// Names lists the names of the entries, sorted, each once.
func Names(idx *ocispec.Index) []string {
	var names []string
	for _, d := range idx.Manifests {
		if n := RefName(d); n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
