// Package ociindex edits image indexes without writing them anew. An index is
// shared by tools that do not know each other, and a registry names it by the
// digest of its bytes. So an edit cuts out or puts in the bytes of one entry,
// and every other byte stays as it was: foreign entries, their order, fields
// that nobody here knows, white space, the spelling of numbers and strings.
package ociindex

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Document is an image index (OCI or docker manifest list) and its bytes. It
// never changes: every edit gives a new one.
type Document struct {
	raw   []byte
	index ocispec.Index
	root  []member
	list  list // the entries
}

// Parse reads an index. It refuses with a *spec.Refusal what two readers could
// understand differently (see spec.UnmarshalStrict), documents of more than
// spec.MaxManifestSize bytes, and those whose "manifests" is missing, is
// neither a list nor null, or holds a null. Media types, versions and
// descriptors are not judged: foreign entries only have to survive.
func Parse(raw []byte) (*Document, error) {
	if len(raw) > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleDocumentSize, "", "index of %d bytes is larger than %d", len(raw), spec.MaxManifestSize)
	}
	d := &Document{raw: bytes.Clone(raw)}
	if err := spec.UnmarshalStrict(d.raw, &d.index); err != nil {
		return nil, fmt.Errorf("parse index: %w", err)
	}
	whole := trim(d.raw, span{0, len(d.raw)})
	if d.raw[whole.from] != '{' {
		return nil, spec.Refuse(spec.RuleJSON, "", "index is not a JSON object")
	}
	var err error
	if d.root, err = members(d.raw, whole); err != nil {
		return nil, err
	}
	m, ok := find(d.root, "manifests")
	if !ok {
		return nil, spec.Refuse(spec.RuleJSON, "", `index has no "manifests"`)
	}
	if d.list, err = elements(d.raw, m.value); err != nil {
		return nil, err
	}
	for i, e := range d.list.items {
		if d.raw[e.from] != '{' {
			return nil, spec.Refuse(spec.RuleJSON, "", "entry %d of the index is not an object", i)
		}
	}
	return d, nil
}

// New makes an OCI index without entries, on one line. It has no artifactType,
// because there are tools that drop it when they copy, and the digest changes.
func New(annotations map[string]string) *Document {
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}, Annotations: annotations}
	index.SchemaVersion = 2
	raw, err := encode(index)
	if err == nil {
		var d *Document
		if d, err = Parse(raw); err == nil {
			return d
		}
	}
	// Not reached: such a value has no part that could fail.
	panic(fmt.Sprintf("ociindex: encode an empty index: %v", err))
}

// Bytes gives the document as it is to be stored.
func (d *Document) Bytes() []byte { return bytes.Clone(d.raw) }

// Index gives the parsed document. It is the caller's to keep and change.
func (d *Document) Index() *ocispec.Index {
	var index ocispec.Index
	_ = json.Unmarshal(d.raw, &index) // it did for Parse
	return &index
}

// Len is the number of entries.
func (d *Document) Len() int { return len(d.list.items) }

// Entry gives entry i, from 0 to Len()-1, parsed and as it is written.
func (d *Document) Entry(i int) (ocispec.Descriptor, []byte) {
	raw := d.list.items[i].of(d.raw)
	var entry ocispec.Descriptor
	_ = json.Unmarshal(raw, &entry)
	return entry, bytes.Clone(raw)
}

// Insert puts an entry before entry i; Len() appends. It is written the way
// its neighbour is: on one line, or indented.
func (d *Document) Insert(i int, entry ocispec.Descriptor) (*Document, error) {
	raw, err := encode(entry)
	if err != nil {
		return nil, err
	}
	if err := d.check(i, d.Len()); err != nil {
		return nil, err
	}
	return d.insert(i, d.list.layOut(d.raw, raw, i))
}

// InsertRaw does the same with an entry that is written already.
func (d *Document) InsertRaw(i int, raw []byte) (*Document, error) {
	raw = bytes.Trim(raw, space)
	var entry ocispec.Descriptor
	if err := spec.UnmarshalStrict(raw, &entry); err != nil {
		return nil, fmt.Errorf("parse index entry: %w", err)
	}
	if raw[0] != '{' {
		return nil, spec.Refuse(spec.RuleJSON, "", "index entry is not an object")
	}
	if err := d.check(i, d.Len()); err != nil {
		return nil, err
	}
	return d.insert(i, raw)
}

func (d *Document) insert(i int, raw []byte) (*Document, error) {
	if d.list.null {
		return d.splice(d.list.span, slices.Concat([]byte("["), raw, []byte("]")))
	}
	at, with := d.list.insertion(d.raw, raw, i)
	return d.splice(at, with)
}

// Replace writes an entry in the place of entry i.
func (d *Document) Replace(i int, entry ocispec.Descriptor) (*Document, error) {
	if err := d.check(i, d.Len()-1); err != nil {
		return nil, err
	}
	raw, err := encode(entry)
	if err != nil {
		return nil, err
	}
	return d.splice(d.list.items[i], d.list.layOut(d.raw, raw, i))
}

// Remove takes entry i out, with the comma and the white space that parted it
// from its neighbour.
func (d *Document) Remove(i int) (*Document, error) {
	if err := d.check(i, d.Len()-1); err != nil {
		return nil, err
	}
	return d.splice(d.list.removal(i), nil)
}

func (d *Document) check(i, last int) error {
	if i < 0 || i > last {
		return fmt.Errorf("edit index: no entry %d among %d", i, d.Len())
	}
	return nil
}

// splice gives the document with other bytes in one place.
func (d *Document) splice(at span, with []byte) (*Document, error) {
	return Parse(slices.Concat(d.raw[:at.from], with, d.raw[at.to:]))
}

// encode writes a value on one line, without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode for an index: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
