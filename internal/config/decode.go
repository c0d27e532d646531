package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxSize bounds a file, in bytes.
	MaxSize = 1 << 20
	// maxNodes bounds what aliases can make of it, maxDepth how deep it goes,
	// and maxErrors how much of a file of another kind is complained about.
	maxNodes  = 200_000
	maxDepth  = 64
	maxErrors = 20
)

// Decode reads one YAML document into v, a pointer to a struct. file is the
// name for messages.
//
// Fields have tags `yaml:"key"`; a field tagged `yaml:",inline"` is a struct
// whose keys stand beside those of the struct around it; one tagged
// `yaml:"key,plain"` is what a plain value in the place of the struct is for. Fields are strings,
// booleans, integers, pointers, structs, lists and maps with string keys of
// these, or have UnmarshalText. Where a list is wanted, a single value is a list
// of one. Nothing is left out in silence: unknown keys, keys that occur twice,
// keys without a value, values of another type, a second document and files
// over MaxSize are errors, of type [Errors].
func Decode(file string, b []byte, v any) error {
	if len(b) > MaxSize {
		return Errors{{File: file, Msg: fmt.Sprintf("file has %d bytes, at most %d are read", len(b), MaxSize)}}
	}
	root, err := parse(file, b)
	if err != nil {
		return Errors{err}
	}
	d := &decoder{}
	d.decode(Place{file: file, node: root}, reflect.ValueOf(v).Elem(), 0)
	return d.errs.Err()
}

// parse gives the root of the only document.
func parse(file string, b []byte) (*yaml.Node, *Error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, &Error{File: file, Msg: "file is empty"}
	} else if err != nil {
		return nil, syntaxError(file, err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, &Error{File: file, Line: more.Line, Column: more.Column, Msg: "a second document begins here; there must be one"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(file, err)
	}
	if len(doc.Content) == 0 {
		return nil, &Error{File: file, Msg: "file is empty"}
	}
	return doc.Content[0], nil
}

// The library has the line in its text alone.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func syntaxError(file string, err error) *Error {
	text := err.Error()
	e := &Error{File: file, Msg: "not YAML: " + yamlLine.ReplaceAllString(text, "")}
	if m := yamlLine.FindStringSubmatch(text); m != nil && m[1] != "" {
		e.Line, _ = strconv.Atoi(m[1])
	}
	return e
}

type decoder struct {
	errs  Errors
	nodes int
}

func (d *decoder) fail(e *Error) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, e)
	}
}

// decode puts the value at p into v.
func (d *decoder) decode(p Place, v reflect.Value, depth int) {
	if d.nodes++; d.nodes > maxNodes || depth > maxDepth {
		if d.nodes <= maxNodes+1 {
			d.fail(p.Errorf("aliases make too much of this, or it is too deep"))
		}
		return
	}
	p.node = target(p.node)
	if p.node.Kind == yaml.ScalarNode && p.node.Tag == "!!null" {
		d.fail(p.Errorf("has no value"))
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(p, t)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(p, v, depth)
	case reflect.Map:
		d.pairs(p, v, depth)
	case reflect.Slice:
		d.list(p, v, depth)
	default:
		d.scalar(p, v)
	}
}

func (d *decoder) text(p Place, t encoding.TextUnmarshaler) {
	if p.node.Kind != yaml.ScalarNode {
		d.fail(p.Errorf("want a plain value, not %s", kindName(p.node)))
	} else if err := t.UnmarshalText([]byte(p.node.Value)); err != nil {
		d.fail(p.Errorf("%v", err))
	}
}

// mapping fills a struct.
func (d *decoder) mapping(p Place, v reflect.Value, depth int) {
	fields := map[string]reflect.Value{}
	collect(p, v, fields)
	if f, ok := plain(v); ok && p.node.Kind == yaml.ScalarNode {
		d.decode(p, f, depth+1)
		return
	}
	d.each(p, func(key string, at Place) {
		if f, ok := fields[key]; ok {
			d.decode(at, f, depth+1)
		} else {
			d.fail(at.Errorf("unknown key%s", suggest(key, fields)))
		}
	})
}

// plain gives the field that a plain value in the place of a struct is for.
func plain(v reflect.Value) (reflect.Value, bool) {
	for i := range v.NumField() {
		if _, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); options == "plain" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// collect finds the fields of a struct by their keys, and tells it its place.
func collect(p Place, v reflect.Value, fields map[string]reflect.Value) {
	for i := range v.NumField() {
		if !v.Field(i).CanSet() {
			continue
		}
		if _, ok := v.Field(i).Interface().(Place); ok {
			v.Field(i).Set(reflect.ValueOf(p))
			continue
		}
		key, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			collect(p, v.Field(i), fields)
		case key != "" && key != "-":
			fields[key] = v.Field(i)
		}
	}
}

// pairs fills a map with string keys.
func (d *decoder) pairs(p Place, v reflect.Value, depth int) {
	v.Set(reflect.MakeMap(v.Type()))
	d.each(p, func(key string, at Place) {
		value := reflect.New(v.Type().Elem()).Elem()
		d.decode(at, value, depth+1)
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
	})
}

// each calls f for the pairs of a mapping, with the place of the value.
func (d *decoder) each(p Place, f func(key string, at Place)) {
	if p.node.Kind != yaml.MappingNode {
		d.fail(p.Errorf("want keys with values, not %s", kindName(p.node)))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(p.node.Content); i += 2 {
		key := p.node.Content[i]
		at := Place{file: p.file, path: joinPath(p.path, key.Value), node: key}
		if key.Kind != yaml.ScalarNode {
			at.path = p.path
			d.fail(at.Errorf("a key must be a plain word, not %s", kindName(key)))
			continue
		}
		if line, twice := first[key.Value]; twice {
			d.fail(at.Errorf("the key occurs twice, first in line %d", line))
			continue
		}
		first[key.Value] = key.Line
		f(key.Value, Place{file: p.file, path: at.path, node: p.node.Content[i+1]})
	}
}

func (d *decoder) list(p Place, v reflect.Value, depth int) {
	if p.node.Kind != yaml.SequenceNode {
		one := reflect.New(v.Type().Elem()).Elem()
		d.decode(p, one, depth+1)
		v.Set(reflect.Append(v, one))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(p.node.Content), len(p.node.Content)))
	for i := range p.node.Content {
		d.decode(p.At(i), v.Index(i), depth+1)
	}
}

func (d *decoder) scalar(p Place, v reflect.Value) {
	if p.node.Kind != yaml.ScalarNode {
		d.fail(p.Errorf("want %s, not %s", wanted(v), kindName(p.node)))
		return
	}
	switch {
	case v.Kind() == reflect.String:
		// As it is written: 1.10 is a version here, and no number.
		v.SetString(p.node.Value)
		return
	case v.Kind() == reflect.Bool && p.node.Tag == "!!bool", v.CanInt() && p.node.Tag == "!!int":
		if p.node.Decode(v.Addr().Interface()) == nil {
			return
		}
	}
	d.fail(p.Errorf("want %s, not %q", wanted(v), p.node.Value))
}

func wanted(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanInt():
		return "a whole number"
	}
	return "a plain value"
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}

// suggest gives the known key that was probably meant.
func suggest(key string, fields map[string]reflect.Value) string {
	var near []string
	for known := range fields {
		if within(key, known, 2) {
			near = append(near, known)
		}
	}
	if len(near) == 0 || len(key) < 3 {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", slices.Min(near))
}

// within tells whether a becomes b by at most n letters added, removed or
// changed.
func within(a, b string, n int) bool {
	switch {
	case n < 0:
		return false
	case a == "" || b == "":
		return len(a)+len(b) <= n
	case a[0] == b[0]:
		return within(a[1:], b[1:], n)
	}
	return within(a[1:], b, n-1) || within(a, b[1:], n-1) || within(a[1:], b[1:], n-1)
}
