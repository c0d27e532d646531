package testimage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Edit changes a JSON text. Exactly one of these:
//
//	{"at": "/layers/1/size", "set": -1}    JSON pointer; "-" appends to an array
//	{"at": "/mediaType", "drop": true}
//	{"at": "/annotations/x", "fill": DATA} a string too long to write down
//	{"find": "\"size\":", "put": "\"Size\":1,\"size\":"}  in the text itself, once
//	{"text": DATA}                         the whole text
//
// Edits of the text come last: those by pointer write the document anew.
type Edit struct {
	At   *string
	Set  json.RawMessage
	Drop bool
	Fill Data
	Find *string
	Put  Data
	Text Data
}

func applyEdits(doc []byte, edits []Edit, v Vars) ([]byte, error) {
	for i, e := range edits {
		var err error
		switch {
		case e.At != nil:
			doc, err = e.pointer(doc, v)
		case e.Find != nil:
			find := []byte(v.expand(*e.Find))
			if bytes.Count(doc, find) == 0 {
				err = fmt.Errorf("%q is not in %.300s", find, doc)
			}
			doc = bytes.Replace(doc, find, e.Put.Bytes(v), 1)
		case e.Text != nil:
			doc = e.Text.Bytes(v)
		default:
			err = fmt.Errorf("none of at, find, text")
		}
		if err != nil {
			return nil, fmt.Errorf("edit %d: %w", i, err)
		}
	}
	return doc, nil
}

func (e Edit) pointer(doc []byte, v Vars) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var root any
	if err := dec.Decode(&root); err != nil {
		return nil, err
	}
	value := json.RawMessage(v.expand(string(e.Set)))
	if bytes.Contains(value, []byte("${")) {
		return nil, fmt.Errorf("%s: %s is not known yet", *e.At, value)
	}
	if e.Fill != nil {
		quoted, err := marshal(e.Fill.String(v))
		if err != nil {
			return nil, err
		}
		value = quoted
	}
	steps := strings.Split(*e.At, "/")
	root, err := change(root, steps[1:], value, e.Drop)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", *e.At, err)
	}
	return marshal(root)
}

// change gives node with the value at the steps below it set or dropped.
func change(node any, steps []string, value json.RawMessage, drop bool) (any, error) {
	if len(steps) == 0 {
		return value, nil
	}
	step := strings.NewReplacer("~1", "/", "~0", "~").Replace(steps[0])
	last := len(steps) == 1
	switch n := node.(type) {
	case nil: // a missing object is made on the way
		return change(map[string]any{}, steps, value, drop)
	case map[string]any:
		if last && drop {
			if _, there := n[step]; !there {
				return nil, fmt.Errorf("nothing to drop")
			}
			delete(n, step)
			return n, nil
		}
		below, err := change(n[step], steps[1:], value, drop)
		n[step] = below
		return n, err
	case []any:
		if step == "-" {
			return append(n, value), nil
		}
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(n) {
			return nil, fmt.Errorf("no element %q", step)
		}
		if last && drop {
			return append(n[:i:i], n[i+1:]...), nil
		}
		n[i], err = change(n[i], steps[1:], value, drop)
		return n, err
	}
	return nil, fmt.Errorf("%q is below a plain value", step)
}

// marshal writes JSON as a person would expect to find it with Find: no HTML
// escapes, no spaces.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// ByteEdit changes bytes: {"flip": 7} inverts one (negative: from the end),
// {"cut": 9} takes so many from the end, {"keep": 9} keeps only so many,
// {"append": DATA}, {"prepend": DATA}, {"text": DATA} replaces all.
type ByteEdit struct {
	Flip, Cut, Keep       *int
	Append, Prepend, Text Data
}

func applyByteEdits(b []byte, edits []ByteEdit, v Vars) ([]byte, error) {
	b = bytes.Clone(b)
	for i, e := range edits {
		switch {
		case e.Flip != nil:
			at := *e.Flip
			if at < 0 {
				at += len(b)
			}
			if at < 0 || at >= len(b) {
				return nil, fmt.Errorf("byte edit %d: no byte %d of %d", i, *e.Flip, len(b))
			}
			b[at] ^= 0xff
		case e.Cut != nil:
			b = b[:max(0, len(b)-*e.Cut)]
		case e.Keep != nil:
			b = b[:min(len(b), *e.Keep)]
		case e.Append != nil:
			b = append(b, e.Append.Bytes(v)...)
		case e.Prepend != nil:
			b = append(e.Prepend.Bytes(v), b...)
		case e.Text != nil:
			b = e.Text.Bytes(v)
		default:
			return nil, fmt.Errorf("byte edit %d: none of flip, cut, keep, append, prepend, text", i)
		}
	}
	return b, nil
}
