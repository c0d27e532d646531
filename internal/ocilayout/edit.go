package ocilayout

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/spec"
)

// SetEntry puts d into the bytes of an index.json under its name, in the place of the
// entry of that name, or of the one without a name if d has none, else at the
// end. Every other byte stays as it is.
func SetEntry(raw []byte, d ocispec.Descriptor) ([]byte, error) {
	idx, err := ParseIndex(raw)
	if err != nil {
		return nil, err
	}
	doc, err := ociindex.Parse(raw)
	if err != nil {
		return nil, err
	}
	at, err := FindEntry(idx, RefName(d))
	if err != nil {
		return nil, err
	}
	if at < 0 {
		doc, err = doc.Insert(doc.Len(), d)
	} else {
		doc, err = doc.Replace(at, d)
	}
	if err != nil {
		return nil, err
	}
	return doc.Bytes(), nil
}

// FindEntry gives the place of the entry with a name, or without one, or -1. Several
// of them are refused.
func FindEntry(idx *ocispec.Index, name string) (int, error) {
	at := -1
	for i, have := range idx.Manifests {
		if RefName(have) != name {
			continue
		}
		if at >= 0 {
			return -1, spec.Refuse(spec.RuleLayoutForm, ocispec.ImageIndexFile, "several entries are named %q, so none can be replaced", name)
		}
		at = i
	}
	return at, nil
}

// Entry is the entry of an index.json for d, which has the name unless that is empty.
// Nothing else that d says is kept.
func Entry(d ocispec.Descriptor, name string) ocispec.Descriptor {
	e := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	if name != "" {
		e.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	}
	return e
}

// NewIndex is the index.json of a layout that holds one image.
func NewIndex(entry ocispec.Descriptor) ([]byte, error) {
	doc, err := ociindex.New(nil).Insert(0, entry)
	if err != nil {
		return nil, err
	}
	return append(doc.Bytes(), '\n'), nil
}

// LayoutFile is the content of the file oci-layout.
func LayoutFile() []byte {
	return []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + "\"}\n")
}
