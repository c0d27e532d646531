package ociindex

import (
	"bytes"
	"encoding/json"
	"slices"
)

// list is a bracketed sequence in the document, with what stands between its
// commas: the entries of an array, or the members of an object.
type list struct {
	span
	null  bool // the word null stands in its place
	items []span
}

// lead gives the white space before item i, after the bracket or the comma.
func (l list) lead(raw []byte, i int) []byte {
	from := l.from + 1
	if i > 0 {
		from = l.items[i-1].to
		from += bytes.IndexByte(raw[from:l.items[i].from], ',') + 1
	}
	return raw[from:l.items[i].from]
}

// insertion says what to write where, so that item comes before item i. The
// white space that parts it from its neighbour is that of the list.
func (l list) insertion(raw, item []byte, i int) (at span, with []byte) {
	n := len(l.items)
	switch {
	case n == 0:
		return span{l.from + 1, l.from + 1}, item
	case i == n:
		end := l.items[n-1].to
		return span{end, end}, slices.Concat([]byte(","), l.lead(raw, n-1), item)
	}
	start := l.items[i].from
	return span{start, start}, slices.Concat(item, []byte(","), l.lead(raw, max(i, min(1, n-1))))
}

// removal gives the bytes that go away with item i.
func (l list) removal(i int) span {
	switch {
	case len(l.items) == 1:
		return span{l.from + 1, l.to - 1}
	case i == 0:
		return span{l.items[0].from, l.items[1].from}
	}
	return span{l.items[i-1].to, l.items[i].to}
}

// layOut indents an object, that is written on one line, as the item is that
// it will stand beside or replace. Where that one is on one line, so is this.
func (l list) layOut(raw, item []byte, i int) []byte {
	if len(l.items) == 0 {
		return item
	}
	model := l.items[min(i, len(l.items)-1)].of(raw)
	inside := model[1 : len(model)-1]
	open := inside[:len(inside)-len(bytes.TrimLeft(inside, space))]
	end := inside[len(bytes.TrimRight(inside, space)):]
	return indent(item, end, open)
}

// indent writes an object over several lines: end is the white space before
// its closing brace, and open that behind the opening one.
func indent(item, end, open []byte) []byte {
	prefix := lastLine(end)
	unit, deeper := bytes.CutPrefix(lastLine(open), prefix)
	if !bytes.Contains(end, []byte("\n")) || !bytes.Contains(open, []byte("\n")) || !deeper || len(unit) == 0 {
		return item
	}
	var b bytes.Buffer
	if json.Indent(&b, item, string(prefix), string(unit)) != nil {
		return item
	}
	if bytes.Contains(open, []byte("\r\n")) {
		return bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n"))
	}
	return b.Bytes()
}

// lastLine gives what follows the last line break.
func lastLine(b []byte) []byte { return b[bytes.LastIndexByte(b, '\n')+1:] }
