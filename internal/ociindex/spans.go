package ociindex

import (
	"bytes"
	"encoding/json"

	"github.com/nbpack/nbpack/spec"
)

// space is what JSON knows as white space.
const space = " \t\r\n"

// span is a range of bytes: [from, to).
type span struct{ from, to int }

func (s span) of(raw []byte) []byte { return raw[s.from:s.to] }

// trim takes the white space off both ends of a span.
func trim(raw []byte, s span) span {
	b := s.of(raw)
	s.from += len(b) - len(bytes.TrimLeft(b, space))
	s.to -= len(b) - len(bytes.TrimRight(b, space))
	return s
}

// member is one key of an object with its value.
type member struct {
	name       string // the key, unescaped
	key, value span
}

func (m member) span() span { return span{m.key.from, m.value.to} }

func find(all []member, name string) (member, bool) {
	for _, m := range all {
		if m.name == name {
			return m, true
		}
	}
	return member{}, false
}

// members finds the keys and values of the object at s. A decoder of tokens
// finds them, so that escapes in keys cannot deceive.
func members(raw []byte, s span) ([]member, error) {
	dec, err := enter(raw, s)
	if err != nil {
		return nil, err
	}
	var all []member
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, malformed(err)
		}
		m := member{}
		m.name, _ = key.(string)
		m.key.to = s.from + int(dec.InputOffset())
		m.key.from = s.from
		if len(all) > 0 {
			m.key.from = all[len(all)-1].value.to
		}
		// Between the last value (or the bracket) and a key there is only
		// white space, with one comma or bracket in it.
		m.key.from += bytes.IndexByte(raw[m.key.from:m.key.to], '"')
		if m.value, err = next(dec, s.from); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// elements finds the entries of the list at s; null counts as an empty list.
func elements(raw []byte, s span) (list, error) {
	l := list{span: s, null: string(s.of(raw)) == "null"}
	if l.null {
		return l, nil
	}
	if raw[s.from] != '[' {
		return l, spec.Refuse(spec.RuleJSON, "", `"manifests" is not a list`)
	}
	dec, err := enter(raw, s)
	if err != nil {
		return l, err
	}
	for dec.More() {
		v, err := next(dec, s.from)
		if err != nil {
			return l, err
		}
		l.items = append(l.items, v)
	}
	return l, nil
}

// enter gives a decoder that has read the opening bracket of the value at s.
func enter(raw []byte, s span) (*json.Decoder, error) {
	dec := json.NewDecoder(bytes.NewReader(s.of(raw)))
	if _, err := dec.Token(); err != nil {
		return nil, malformed(err)
	}
	return dec, nil
}

// next reads one value and says where it lies.
func next(dec *json.Decoder, offset int) (span, error) {
	var v json.RawMessage
	if err := dec.Decode(&v); err != nil {
		return span{}, malformed(err)
	}
	end := offset + int(dec.InputOffset())
	return span{end - len(v), end}, nil
}

// malformed is for what a strict parser has let pass; it should not occur.
func malformed(err error) error {
	return spec.Refuse(spec.RuleJSON, "", "index is malformed: %w", err)
}
