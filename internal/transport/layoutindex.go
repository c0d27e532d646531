package transport

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// blobName is where a layout keeps a blob. The digest must have been checked.
func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// readLayoutIndex reads and checks oci-layout and index.json.
func readLayoutIndex(f files) (*ocispec.Index, []byte, error) {
	raw, err := readAll(f, ocispec.ImageLayoutFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", ocispec.ImageLayoutFile, err)
	}
	var layout ocispec.ImageLayout
	if err := spec.UnmarshalStrict(raw, &layout); err != nil {
		return nil, nil, fmt.Errorf("parse %s: %w", ocispec.ImageLayoutFile, err)
	}
	if layout.Version != ocispec.ImageLayoutVersion {
		return nil, nil, spec.Refuse(ruleLayout, ocispec.ImageLayoutFile, "layout version %q is not %q", layout.Version, ocispec.ImageLayoutVersion)
	}
	raw, err = readAll(f, ocispec.ImageIndexFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", ocispec.ImageIndexFile, err)
	}
	idx, err := parseLayoutIndex(raw)
	return idx, raw, err
}

func parseLayoutIndex(raw []byte) (*ocispec.Index, error) {
	var idx ocispec.Index
	if err := spec.UnmarshalStrict(raw, &idx); err != nil {
		return nil, fmt.Errorf("parse %s: %w", ocispec.ImageIndexFile, err)
	}
	if idx.SchemaVersion != 2 {
		return nil, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "schemaVersion is %d, not 2", idx.SchemaVersion)
	}
	if mt := idx.MediaType; mt != "" && mt != ocispec.MediaTypeImageIndex {
		return nil, spec.Refuse(ruleMediaType, ocispec.ImageIndexFile, "media type is %q", mt)
	}
	return &idx, nil
}

// refName is the name of an entry of index.json, empty if it has none.
func refName(d ocispec.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// layoutNames lists the names in an index, sorted, each once.
func layoutNames(idx *ocispec.Index) []string {
	var names []string
	for _, d := range idx.Manifests {
		if n := refName(d); n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// selectEntry finds the entry that ref names: the one with its digest, the one
// with its name, or, when it has neither, the only one that is not attached to
// another. The error is
// errNoEntry when a digest is not among the entries: it may still be a blob.
func selectEntry(idx *ocispec.Index, ref Reference) (ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	for _, d := range idx.Manifests {
		if ref.Digest != "" && d.Digest == ref.Digest || ref.Digest == "" && (refName(d) == ref.Tag || ref.Tag == "" && !isAttachment(refName(d))) {
			// The same image may be there under several names.
			if !slices.ContainsFunc(found, func(o ocispec.Descriptor) bool { return o.Digest == d.Digest }) {
				found = append(found, d)
			}
		}
	}
	names := layoutNames(idx)
	switch {
	case len(found) == 1:
		d := found[0]
		if err := spec.CheckDescriptor(d); err != nil {
			return d, fmt.Errorf("entry of %s: %w", ocispec.ImageIndexFile, err)
		}
		return d, nil
	case len(found) == 0 && ref.Digest != "":
		return ocispec.Descriptor{}, errNoEntry
	case len(found) == 0 && ref.Tag != "":
		return ocispec.Descriptor{}, &NotFoundError{Ref: ref.String(), What: fmt.Sprintf("image %q", ref.Tag), Have: names}
	case len(found) == 0:
		return ocispec.Descriptor{}, &NotFoundError{Ref: ref.String(), What: "any image"}
	case ref.Tag == "":
		return ocispec.Descriptor{}, badRef("name one: "+ref.String()+":NAME", "%q holds %d images: %s", ref.String(), len(found), quoteList(names))
	}
	return ocispec.Descriptor{}, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "%d different images are named %q", len(found), ref.Tag)
}

// isAttachment tells whether a name is one that attachments have, in a bundle the
// tag of it.
func isAttachment(name string) bool {
	return IsAttachment(name[strings.LastIndexByte(name, ':')+1:])
}

var errNoEntry = errors.New("no such entry")
