package transport

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// span is a range of bytes: [from, to).
type span struct{ from, to int }

// indexSpans says where the value of "manifests" lies in an index, and where
// each of its elements does.
func indexSpans(raw []byte) (list span, elems []span, err error) {
	bad := func(what string) error { return spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "%s", what) }
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return list, nil, bad("not a JSON object")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return list, nil, bad("malformed JSON")
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return list, nil, bad("malformed JSON")
		}
		if key != "manifests" {
			continue
		}
		end := int(dec.InputOffset())
		list = span{end - len(v), end}
		elems, err = elementSpans(v, list.from)
		return list, elems, err
	}
	return list, nil, bad(`it has no "manifests"`)
}

// elementSpans gives the elements of a JSON array that starts at offset.
func elementSpans(array []byte, offset int) ([]span, error) {
	if string(array) == "null" {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(array))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, `"manifests" is not a list`)
	}
	var elems []span
	for dec.More() {
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "malformed JSON")
		}
		end := offset + int(dec.InputOffset())
		elems = append(elems, span{end - len(v), end})
	}
	return elems, nil
}

// editIndex puts d into an index.json under its name, in the place of the
// entry of that name, or of the one without a name if d has none, else at the
// end. Every other byte stays as it is: other entries, their order, fields
// that nobody here knows, white space.
func editIndex(raw []byte, d ocispec.Descriptor) ([]byte, error) {
	idx, err := parseLayoutIndex(raw)
	if err != nil {
		return nil, err
	}
	list, elems, err := indexSpans(raw)
	if err != nil {
		return nil, err
	}
	if len(elems) != len(idx.Manifests) {
		// Only a key that differs in case gets here; refuse, do not guess.
		return nil, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, `"manifests" is not unique`)
	}
	entry, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode index entry: %w", err)
	}
	at := -1
	for i, have := range idx.Manifests {
		if refName(have) != refName(d) {
			continue
		}
		if at >= 0 {
			return nil, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "several entries are named %q, so none can be replaced", refName(d))
		}
		at = i
	}
	switch {
	case at >= 0:
		return splice(raw, elems[at], entry), nil
	case len(elems) == 0:
		return splice(raw, list, []byte("["+string(entry)+"]")), nil
	}
	// Keep the white space that the file has between its entries.
	last := elems[len(elems)-1]
	before := list.from + len("[")
	if len(elems) > 1 {
		before = elems[len(elems)-2].to
	}
	lead := bytes.ReplaceAll(raw[before:last.from], []byte(","), nil)
	return splice(raw, span{last.to, last.to}, []byte(","+string(lead)+string(entry))), nil
}

func splice(raw []byte, s span, with []byte) []byte {
	out := make([]byte, 0, len(raw)+len(with))
	out = append(out, raw[:s.from]...)
	out = append(out, with...)
	return append(out, raw[s.to:]...)
}
