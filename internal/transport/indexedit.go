package transport

import (
	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// editIndex puts d into an index.json under its name, in the place of the
// entry of that name, or of the one without a name if d has none, else at the
// end. Every other byte stays as it is.
func editIndex(raw []byte, d ocispec.Descriptor) ([]byte, error) {
	idx, err := parseLayoutIndex(raw)
	if err != nil {
		return nil, err
	}
	doc, err := ociindex.Parse(raw)
	if err != nil {
		return nil, err
	}
	at, err := findName(idx, refName(d))
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

// findName gives the entry with a name, or without one, or -1.
func findName(idx *ocispec.Index, name string) (int, error) {
	at := -1
	for i, have := range idx.Manifests {
		if refName(have) != name {
			continue
		}
		if at >= 0 {
			return -1, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "several entries are named %q, so none can be replaced", name)
		}
		at = i
	}
	return at, nil
}
