package testimage

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Tree is what lies below a directory: "/" for a directory, "-> target" for a
// symbolic link, and the hex SHA-256 of a file.
type Tree map[string]string

// Tree gives the tree that the entries of the image spell out, with the
// SHA256SUM file and the directories that are only implied. It believes every
// entry: it says what an honest image should become.
func (n Node) Tree(vars Vars) (Tree, error) {
	if n.Artifact != nil {
		return n.Artifact.tree(vars)
	}
	m := n.Image
	if m == nil {
		m = &Image{}
	}
	b := &builder{vars: vars}
	layers := m.layers(vars)
	if err := b.fillSums(m, layers); err != nil {
		return nil, err
	}
	t := Tree{}
	for _, l := range layers {
		for _, e := range l.Entries {
			for _, one := range e.expand(vars) {
				if err := t.add(one, vars); err != nil {
					return nil, err
				}
			}
		}
	}
	return t, nil
}

// Pick follows the positions in Manifests of nested indexes.
func (n Node) Pick(positions ...int) (Node, error) {
	for _, i := range positions {
		if n.Index == nil || i >= len(n.Index.Manifests) {
			return Node{}, fmt.Errorf("no manifest at position %d", i)
		}
		n = n.Index.Manifests[i]
	}
	return n, nil
}

func (t Tree) add(e Entry, v Vars) error {
	name := path.Clean(e.Name.String(v))
	if name == "." || name == "/" && e.flag() == "5" || e.flag() == "g" || e.flag() == "x" { // headers are no files
		return nil
	}
	if !fs.ValidPath(name) {
		return fmt.Errorf("%q has no place in a tree", name)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		t[dir] = "/"
	}
	switch {
	case e.flag() == "5":
		t[name] = "/"
	case e.flag() == "2":
		t[name] = "-> " + e.Link.String(v)
	case e.flag() == "1":
		target := path.Clean(strings.TrimPrefix(e.Link.String(v), "./"))
		body, there := t[target]
		if !there {
			return fmt.Errorf("%q: no target %q", name, target)
		}
		t[name] = body
	case e.regular():
		h := newSum("")
		if _, err := io.Copy(h, e.Data.Reader(v)); err != nil {
			return err
		}
		t[name] = h.hex()
	default:
		return fmt.Errorf("%q: type %q has no place in a tree", name, e.flag())
	}
	return nil
}
