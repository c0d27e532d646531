package testimage

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Vars are the names that a description may mention as ${name}: the digests
// (64 hex digits) of what was built so far, and what the caller adds, such as
// the path of a directory that nothing may touch.
type Vars map[string]string

func (v Vars) expand(s string) string {
	if !strings.Contains(s, "${") {
		return s
	}
	for name, value := range v {
		s = strings.ReplaceAll(s, "${"+name+"}", value)
	}
	return s
}

// Data is a sequence of bytes as a description writes it. Its JSON is one of
//
//	"text"                            the text itself, ${var} replaced
//	{"hex": "00ff"}                   any bytes
//	{"repeat": "a", "times": 1000}    the text so many times
//	{"lines": "f{n} ", "times": 9}    the same, {n} counting 000000, 000001, …
//	{"random": 4096}                  noise, the same in every run
//	[ … ]                             the parts one after the other
//
// so that a gigabyte costs one line. Bodies are read as streams.
type Data []segment

type segment struct {
	text   string
	times  int64
	count  bool
	random bool
}

// Text is the Data of a literal string.
func Text(s string) Data { return Data{{text: s, times: 1}} }

// UnmarshalJSON reads one of the forms above.
func (d *Data) UnmarshalJSON(b []byte) error {
	*d = nil
	switch {
	case len(b) > 0 && b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*d = Text(s)
		return nil
	case len(b) > 0 && b[0] == '[':
		var parts []Data
		if err := json.Unmarshal(b, &parts); err != nil {
			return err
		}
		for _, p := range parts {
			*d = append(*d, p...)
		}
		return nil
	}
	var form struct {
		Hex, Repeat, Lines *string
		Times              *int64
		Random             int64
	}
	if err := unmarshalKnown(b, &form); err != nil {
		return fmt.Errorf("data %s: %w", b, err)
	}
	seg := segment{times: 1}
	if form.Times != nil {
		seg.times = *form.Times
	}
	switch {
	case form.Hex != nil:
		raw, err := hex.DecodeString(strings.ReplaceAll(*form.Hex, " ", ""))
		if err != nil {
			return fmt.Errorf("data %s: %w", b, err)
		}
		seg.text = string(raw)
	case form.Repeat != nil:
		seg.text = *form.Repeat
	case form.Lines != nil:
		seg.text, seg.count = *form.Lines, true
	case form.Random > 0:
		seg.random, seg.times = true, form.Random
	default:
		return fmt.Errorf("data %s: none of hex, repeat, lines, random", b)
	}
	*d = Data{seg}
	return nil
}

// Reader streams the bytes.
func (d Data) Reader(v Vars) io.Reader {
	readers := make([]io.Reader, 0, len(d))
	for _, s := range d {
		readers = append(readers, s.reader(v))
	}
	return io.MultiReader(readers...)
}

// Size is the number of bytes that Reader gives.
func (d Data) Size(v Vars) int64 {
	var n int64
	for _, s := range d {
		switch {
		case s.random:
			n += s.times
		case s.count:
			for i := range s.times {
				n += int64(len(s.line(i)))
			}
		default:
			n += int64(len(v.expand(s.text))) * s.times
		}
	}
	return n
}

// Bytes gives everything at once: for names and small bodies.
func (d Data) Bytes(v Vars) []byte {
	// A bytes.Reader never fails.
	b, _ := io.ReadAll(d.Reader(v))
	return b
}

// String is Bytes as a string.
func (d Data) String(v Vars) string { return string(d.Bytes(v)) }

func (s segment) line(i int64) string {
	return strings.ReplaceAll(s.text, "{n}", fmt.Sprintf("%06d", i))
}

func (s segment) reader(v Vars) io.Reader {
	switch {
	case s.random:
		var seed [32]byte
		copy(seed[:], "noise "+strconv.FormatInt(s.times, 10))
		return io.LimitReader(rand.NewChaCha8(seed), s.times)
	case s.count:
		return &generator{n: s.times, next: func(i int64) []byte { return []byte(s.line(i)) }}
	}
	unit := []byte(v.expand(s.text))
	if s.times == 1 || len(unit) == 0 {
		return bytes.NewReader(unit)
	}
	// Many copies at a time: a gigabyte of single zeros would be slow.
	per := max(1, 1<<16/int64(len(unit)))
	block := bytes.Repeat(unit, int(min(per, s.times)))
	return io.LimitReader(
		&generator{n: s.times/per + 1, next: func(int64) []byte { return block }},
		int64(len(unit))*s.times)
}

// generator reads n pieces, each made when it is needed.
type generator struct {
	i, n int64
	rest []byte
	next func(int64) []byte
}

func (g *generator) Read(p []byte) (int, error) {
	for len(g.rest) == 0 {
		if g.i >= g.n {
			return 0, io.EOF
		}
		g.rest = g.next(g.i)
		g.i++
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

// unmarshalKnown refuses keys that the description language does not have, so
// that a typing mistake in a case cannot turn an attack into a good image.
func unmarshalKnown(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("text after the end of the value")
	}
	return nil
}
