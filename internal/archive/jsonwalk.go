package archive

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nbpack/nbpack/spec"
)

// maxValue bounds how many bytes of a document one element of a list may take.
const maxValue = 2 << 20

// jsonWalk reads a JSON document of any length as a stream, value by value, as
// strictly as [spec.UnmarshalStrict] reads one in memory.
type jsonWalk struct {
	dec    *json.Decoder
	budget *budgetReader
	seen   map[string]bool
}

func newJSONWalk(r io.Reader) *jsonWalk {
	b := &budgetReader{r: r, left: maxValue}
	w := &jsonWalk{dec: json.NewDecoder(b), budget: b, seen: map[string]bool{}}
	w.dec.UseNumber()
	return w
}

// budgetReader stops where one value makes the decoder read too far: it keeps a
// value in memory until it is complete.
type budgetReader struct {
	r    io.Reader
	left int
}

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, refuseTable("a value in the table is longer than %d bytes", maxValue)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (w *jsonWalk) token() (json.Token, error) {
	t, err := w.dec.Token()
	if err != nil {
		var refusal *spec.Refusal
		if errors.As(err, &refusal) {
			return nil, err
		}
		return nil, refuseTable("the table is not JSON: %w", noEOF(err))
	}
	return t, nil
}

func (w *jsonWalk) delim(want json.Delim) error {
	t, err := w.token()
	if err == nil && t != want {
		err = refuseTable("the table has something else instead of %q", want.String())
	}
	return err
}

// object reads an object and calls each, which reads the value, for every key that
// is known. Other keys are skipped; known ones in another case, and keys that occur
// twice, are refused. Objects must not be nested in one another by each.
func (w *jsonWalk) object(known []string, each func(key string) error) error {
	if err := w.delim('{'); err != nil {
		return err
	}
	return w.members(known, w.seen, each)
}

func (w *jsonWalk) members(known []string, seen map[string]bool, each func(key string) error) error {
	clear(seen)
	for w.dec.More() {
		t, err := w.token()
		if err != nil {
			return err
		}
		key, _ := t.(string) // the decoder lets nothing else stand for a key
		if seen[key] {
			return refuseTable("key %q stands twice in one object", key)
		}
		seen[key] = true
		if slices.Contains(known, key) {
			err = each(key)
		} else if i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, key) }); i >= 0 {
			err = refuseTable("key %q differs from %q only by case", key, known[i])
		} else {
			err = w.skip()
		}
		if err != nil {
			return err
		}
	}
	return w.delim('}')
}

// document reads the one object that the whole stream is; its values may be lists
// of objects.
func (w *jsonWalk) document(known []string, each func(key string) error) error {
	if err := w.delim('{'); err != nil {
		return err
	}
	if err := w.members(known, map[string]bool{}, each); err != nil {
		return err
	}
	switch _, err := w.dec.Token(); err {
	case io.EOF:
		return nil
	case nil:
		return refuseTable("the table has data behind its end")
	default:
		return refuseTable("the table has data behind its end: %w", err)
	}
}

// list calls each for every element of an array; null is an empty one.
func (w *jsonWalk) list(each func() error) error {
	t, err := w.token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return refuseTable("the table has something else instead of a list")
	}
	for w.dec.More() {
		w.budget.left = maxValue
		if err := each(); err != nil {
			return err
		}
	}
	w.budget.left = maxValue
	return w.delim(']')
}

// skip reads a value that nobody asked for.
func (w *jsonWalk) skip() error {
	for depth := 0; ; {
		t, err := w.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth > spec.MaxJSONDepth {
			return refuseTable("the table has more than %d nested values", spec.MaxJSONDepth)
		}
		if depth == 0 {
			return nil
		}
	}
}

func (w *jsonWalk) text(into *string) error {
	t, err := w.token()
	if err != nil {
		return err
	}
	s, ok := t.(string)
	if !ok {
		return refuseTable("the table has something else instead of a string")
	}
	// The decoder writes this rune in the place of what is not UTF-8.
	if strings.ContainsRune(s, utf8.RuneError) {
		return refuseTable("%q is not valid UTF-8", s)
	}
	*into = s
	return nil
}

func (w *jsonWalk) number(into *int64) error {
	t, err := w.token()
	if err != nil {
		return err
	}
	text, ok := t.(json.Number)
	if !ok {
		return refuseTable("the table has something else instead of a number")
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return refuseTable("%q is not a number of bytes", string(text))
	}
	*into = n
	return nil
}
