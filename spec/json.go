package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// UnmarshalStrict decodes one JSON document into v as encoding/json does, but
// refuses what two JSON readers could understand differently: a key twice, keys
// of one object that differ only by case, a key that differs from a field of v
// only by case (encoding/json would take it for the field), invalid UTF-8 and
// data behind the document; also more than MaxJSONDepth nested values. Unknown
// keys are allowed and ignored. Keys that are data (of a map of strings, such as
// annotations) and keys of ignored values may differ by case.
func UnmarshalStrict(b []byte, v any) error {
	if !utf8.Valid(b) {
		return Refuse(RuleJSON, "", "document is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	s := jsonScanner{dec: dec}
	if err := s.value(reflect.TypeOf(v), false, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Refuse(RuleJSON, "", "document has data behind its end")
	}
	if err := json.Unmarshal(b, v); err != nil {
		return Refuse(RuleJSON, "", "document does not decode: %w", err)
	}
	return nil
}

// jsonScanner walks a document beside the Go type that it will be decoded to.
type jsonScanner struct{ dec *json.Decoder }

// value reads one value. A value whose key v has no field for is ignored.
func (s *jsonScanner) value(t reflect.Type, ignored bool, depth int) error {
	token, err := s.dec.Token()
	if err != nil {
		return Refuse(RuleJSON, "", "document is not JSON: %w", noEOF(err))
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= MaxJSONDepth {
		return Refuse(RuleJSON, "", "document has more than %d nested values", MaxJSONDepth)
	}
	t = dereference(t)
	if delim == '{' {
		err = s.object(t, ignored, depth+1)
	} else {
		err = s.array(t, ignored, depth+1)
	}
	if err != nil {
		return err
	}
	if _, err := s.dec.Token(); err != nil { // the closing bracket
		return Refuse(RuleJSON, "", "document is not JSON: %w", noEOF(err))
	}
	return nil
}

func (s *jsonScanner) array(t reflect.Type, ignored bool, depth int) error {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && t != rawMessage {
		elem = t.Elem()
	}
	for s.dec.More() {
		if err := s.value(elem, ignored, depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *jsonScanner) object(t reflect.Type, ignored bool, depth int) error {
	names := newKeySet(t, ignored)
	for s.dec.More() {
		token, err := s.dec.Token()
		if err != nil {
			return Refuse(RuleJSON, "", "document is not JSON: %w", noEOF(err))
		}
		key, _ := token.(string) // the decoder lets nothing else stand for a key
		elem, unknown, err := names.add(key)
		if err != nil {
			return err
		}
		if err := s.value(elem, ignored || unknown, depth); err != nil {
			return err
		}
	}
	return nil
}

// keySet holds the keys that one object has had so far.
type keySet struct {
	fields map[string]reflect.Type // of the Go struct, by key; nil if it is none
	folded map[string]string       // the keys' spelling by FoldKey; nil if case does not matter
	seen   map[string]bool
	elem   reflect.Type // type of the values, if the object becomes a map
}

func newKeySet(t reflect.Type, ignored bool) *keySet {
	k := &keySet{seen: make(map[string]bool)}
	if t != nil && t.Kind() == reflect.Map {
		k.elem = t.Elem()
	}
	if t != nil && t.Kind() == reflect.Struct {
		k.fields = make(map[string]reflect.Type)
		collectFields(t, k.fields)
	}
	if !ignored && !isData(k.elem) {
		k.folded = make(map[string]string)
		for name := range k.fields {
			k.folded[FoldKey(name)] = name
		}
	}
	return k
}

// add takes the next key and gives the type of its value (nil if the type says
// nothing), and whether the decoder will ignore that value.
func (k *keySet) add(key string) (elem reflect.Type, unknown bool, err error) {
	if k.seen[key] {
		return nil, false, Refuse(RuleJSONKeys, "", "key %q stands twice in one object", key)
	}
	k.seen[key] = true
	if k.folded != nil {
		if other, ok := k.folded[FoldKey(key)]; ok && other != key {
			return nil, false, Refuse(RuleJSONKeys, "", "key %q differs from %q only by case", key, other)
		}
		k.folded[FoldKey(key)] = key
	}
	if k.fields == nil {
		return k.elem, false, nil
	}
	elem, known := k.fields[key]
	return elem, !known, nil
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

// isData tells whether the keys of a map with such values are free data, as in
// annotations, and not words that a specification defines.
func isData(elem reflect.Type) bool {
	return elem != nil && (elem.Kind() == reflect.String || elem.Kind() == reflect.Struct)
}

func dereference(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// collectFields gives the keys of a struct as encoding/json knows them, those
// of embedded structs included.
func collectFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
		case f.Anonymous && name == "" && dereference(f.Type).Kind() == reflect.Struct:
			collectFields(dereference(f.Type), into)
		case name == "":
			into[f.Name] = f.Type
		default:
			into[name] = f.Type
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
