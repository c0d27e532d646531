package config

import (
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Place is where a value stands in a file. A struct that has a field of this
// type, mostly an embedded one, is told where its mapping stands.
type Place struct {
	file, path string
	node       *yaml.Node
}

// At goes from a mapping or a list to one of its parts: by keys (string) and by
// positions (int). What is not written stands where its parent does.
func (p Place) At(steps ...any) Place {
	for _, step := range steps {
		switch s := step.(type) {
		case string:
			p.path = joinPath(p.path, s)
			p.node = orParent(value(p.node, s), p.node)
		case int:
			p.path += "[" + strconv.Itoa(s) + "]"
			p.node = orParent(item(p.node, s), p.node)
		}
	}
	return p
}

// Has tells whether a mapping has this key.
func (p Place) Has(key string) bool { return value(p.node, key) != nil }

// Line is the line of the value, from 1; 0 where it is not known.
func (p Place) Line() int {
	if p.node == nil {
		return 0
	}
	return p.node.Line
}

// Errorf makes an error about the value. Format and arguments are those of
// fmt.Errorf, without %w.
func (p Place) Errorf(format string, args ...any) *Error {
	e := &Error{File: p.file, Msg: fmt.Sprintf(format, args...)}
	if p.path != "" {
		e.Msg = p.path + ": " + e.Msg
	}
	if p.node != nil {
		e.Line, e.Column = p.node.Line, p.node.Column
	}
	return e
}

func joinPath(path, key string) string {
	if strconv.Quote(key) != `"`+key+`"` || len(key) > 64 {
		key = strconv.Quote(key[:min(len(key), 64)])
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func orParent(n, parent *yaml.Node) *yaml.Node {
	if n == nil {
		return parent
	}
	return n
}

// value gives what a mapping has under a key, nil for nothing.
func value(n *yaml.Node, key string) *yaml.Node {
	n = target(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func item(n *yaml.Node, i int) *yaml.Node {
	n = target(n)
	if n == nil || n.Kind != yaml.SequenceNode || i >= len(n.Content) {
		return nil
	}
	return n.Content[i]
}

// target follows an alias to what it stands for.
func target(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
