package pack

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
)

// renamer maps names of the sources to names in the payload.
type renamer struct {
	to   map[string]string
	used map[string]bool
}

func newRenamer(rename map[string]string) (*renamer, error) {
	for _, old := range sortedKeys(rename) {
		name := rename[old]
		for _, p := range []string{old, name} {
			if p == "." && p == name {
				continue // the top
			}
			if err := spec.CheckPath(p); err != nil {
				return nil, badOption("write --rename OLD=NEW with paths below the sources", "--rename %s=%s: %v", old, name, err)
			}
		}
	}
	return &renamer{to: rename, used: map[string]bool{}}, nil
}

// apply gives the new name: that of the name itself, or of the nearest directory
// above it that is renamed.
func (r *renamer) apply(name string) string {
	for old, below := name, ""; old != "."; {
		if to, ok := r.to[old]; ok {
			r.used[old] = true
			return path.Join(to, below)
		}
		below = path.Join(path.Base(old), below)
		old = path.Dir(old)
	}
	return name
}

// check refuses a renaming that did nothing: it is a slip of the pen.
func (r *renamer) check() error {
	for _, old := range sortedKeys(r.to) {
		if !r.used[old] {
			return badOption("", "--rename %s=%s: the sources hold no %q", old, r.to[old], old)
		}
	}
	return nil
}

// tree is the payload by path, while it is planned.
type tree map[string]*Entry

// newTree renames the nodes and adds the directories that are missing above
// them.
func newTree(nodes []source.Entry, rename map[string]string) (tree, error) {
	r, err := newRenamer(rename)
	if err != nil {
		return nil, err
	}
	t := tree{}
	for i := range nodes {
		n := &nodes[i]
		p := r.apply(n.Name)
		if p == "." && n.Type == spec.TypeDir {
			continue // what it holds goes to the top
		}
		if err := source.CheckName(p); err != nil {
			return nil, err
		}
		if other, ok := t[p]; ok && (other.Type != spec.TypeDir || n.Type != spec.TypeDir) {
			return nil, refuse(ruleSourceClash, p, "choose another name with --rename", "two sources have this name after renaming")
		}
		t[p] = &Entry{Path: p, Type: n.Type, Target: n.Target, Source: n.Origin, node: n}
		if n.Type == spec.TypeFile {
			t[p].Size = n.Size
		}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return t, t.addParents()
}

// addParents makes every directory an entry of its own.
func (t tree) addParents() error {
	for _, p := range sortedKeys(t) {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			parent, ok := t[dir]
			if !ok {
				t[dir] = &Entry{Path: dir, Type: spec.TypeDir}
				continue
			}
			if parent.Type != spec.TypeDir {
				return refuse(ruleSourceClash, dir, hintExclude, "is a %s, but %q lies below it", parent.Type, p)
			}
		}
	}
	return t.checkTwins()
}

// checkTwins refuses names that differ only by case: some boot servers and file
// systems cannot tell them apart.
func (t tree) checkTwins() error {
	seen := map[string]string{}
	for _, p := range sortedKeys(t) {
		key := spec.FoldKey(p)
		if twin, ok := seen[key]; ok {
			return refuse(ruleSourceClash, p, hintExclude, "differs only by case from %q", twin)
		}
		seen[key] = p
	}
	return nil
}

// sorted gives the entries by path.
func (t tree) sorted() []*Entry {
	return slices.SortedFunc(maps.Values(t), func(a, b *Entry) int { return strings.Compare(a.Path, b.Path) })
}
