package ociindex

import "slices"

// Annotate sets one annotation of the index itself. When it has that value
// already, the same document comes back.
func (d *Document) Annotate(key, value string) (*Document, error) {
	text, err := encode(value)
	if err != nil {
		return nil, err
	}
	name, err := encode(key)
	if err != nil {
		return nil, err
	}
	have, ok := find(d.root, "annotations")
	if !ok {
		return d.annotateFirst(name, text)
	}
	if string(have.value.of(d.raw)) == "null" {
		return d.splice(have.value, object(name, []byte(":"), text))
	}
	all, err := members(d.raw, have.value)
	if err != nil {
		return nil, err
	}
	if m, ok := find(all, key); ok {
		if had, isText := d.index.Annotations[key]; isText && had == value && d.raw[m.value.from] == '"' {
			return d, nil
		}
		return d.splice(m.value, text)
	}
	colon := []byte(":")
	l := list{span: have.value}
	for _, m := range all {
		l.items = append(l.items, m.span())
		colon = d.raw[m.key.to:m.value.from]
	}
	at, with := l.insertion(d.raw, slices.Concat(name, colon, text), len(all))
	return d.splice(at, with)
}

// annotateFirst gives the index its first annotation, as its last member.
func (d *Document) annotateFirst(name, text []byte) (*Document, error) {
	l := list{span: trim(d.raw, span{0, len(d.raw)})}
	for _, m := range d.root {
		l.items = append(l.items, m.span())
	}
	last := d.root[len(d.root)-1]
	colon := d.raw[last.key.to:last.value.from]
	value := object(name, colon, text)
	// If members stand on lines of their own, so do those of this one.
	lead := l.lead(d.raw, len(l.items)-1)
	value = indent(value, lead, slices.Concat(lead, lastLine(lead)))
	at, with := l.insertion(d.raw, slices.Concat([]byte(`"annotations"`), colon, value), len(l.items))
	return d.splice(at, with)
}

func object(name, colon, text []byte) []byte {
	return slices.Concat([]byte("{"), name, colon, text, []byte("}"))
}
