package spec

import (
	"path"
	"strings"
)

// tree is the set of paths that the entries of an image make.
type tree struct {
	nodes    map[string]node
	spelled  map[string]bool       // paths that were looked at for case twins
	spelling map[string]string     // the first of these, by FoldKey
	blockers map[string]string     // answers of blocked
	content  map[string]*Entry     // the regular file behind a file or hard link
	resolved map[string]resolution // what symlinks lead to, found so far
}

// node is one path of the tree.
type node struct {
	kind  EntryType
	entry *Entry // nil for a directory that only stands in the path of an entry
	index int    // of the entry
}

// resolution is what a link leads to, or the rule that it breaks and why.
type resolution struct {
	path      string
	hops      int // links followed
	rule, why string
}

func newTree() *tree {
	return &tree{
		nodes:    map[string]node{".": {kind: TypeDir}},
		spelled:  make(map[string]bool),
		spelling: make(map[string]string),
		blockers: make(map[string]string),
		content:  make(map[string]*Entry),
		resolved: make(map[string]resolution),
	}
}

// blocked gives the path in or above a directory that is something else than a
// directory, or "". Answers are kept, because many files share a directory.
func (t *tree) blocked(dir string) string {
	if dir == "." {
		return ""
	}
	by, ok := t.blockers[dir]
	if !ok {
		if by = dir; t.nodes[dir].kind == TypeDir {
			by = t.blocked(path.Dir(dir))
		}
		t.blockers[dir] = by
	}
	return by
}

// file gives the regular file that a path leads to, through hard links and
// symlinks, or nil.
func (t *tree) file(p string) *Entry {
	if t.nodes[p].kind == TypeSymlink {
		r := t.follow(p, 0)
		if r.rule != "" {
			return nil
		}
		p = r.path
	}
	return t.content[p]
}

// follow gives what the symlink at p leads to. depth is the number of links
// that are being followed already: a circle ends at the bound.
func (t *tree) follow(p string, depth int) resolution {
	if r, ok := t.resolved[p]; ok {
		return r
	}
	if depth >= MaxLinkHops {
		return resolution{rule: RuleLinkDangling, why: "leads through too many links or in a circle"}
	}
	r := t.walk(path.Dir(p), t.nodes[p].entry.Target, depth+1)
	r.hops++
	if r.rule == "" && r.hops > MaxLinkHops {
		r = resolution{rule: RuleLinkDangling, why: "leads through too many links"}
	}
	t.resolved[p] = r
	return r
}

// walk goes from a directory along a link target as a kernel does: ".." leaves
// the directory that the links before it led to, not the one that the text says.
func (t *tree) walk(dir, target string, depth int) resolution {
	at := resolution{path: dir}
	for element := range strings.SplitSeq(target, "/") {
		if t.nodes[at.path].kind != TypeDir {
			return resolution{rule: RuleLinkDangling, why: "leads through something that is no directory"}
		}
		switch element {
		case "", ".":
			continue
		case "..":
			if at.path == "." {
				return resolution{rule: RuleLinkTarget, why: "leads outside the tree"}
			}
			at.path = path.Dir(at.path)
			continue
		}
		at.path = join(at.path, element)
		next, ok := t.nodes[at.path]
		if !ok {
			return resolution{rule: RuleLinkDangling, why: "leads to nothing in the tree"}
		}
		if next.kind == TypeSymlink {
			r := t.follow(at.path, depth)
			if r.rule != "" {
				return r
			}
			at = resolution{path: r.path, hops: at.hops + r.hops}
		}
	}
	return at
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}
