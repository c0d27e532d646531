package pack

import (
	"path"

	"github.com/nbpack/nbpack/spec"
)

// toTop gives the tree with every file at the top, under its base name. A link
// keeps leading to its file, and goes away where that has its name already; so
// do directories, and links to them.
func (t tree) toTop() (tree, error) {
	top := tree{}
	for _, e := range t.sorted() {
		flat := *e
		flat.Path = path.Base(e.Path)
		switch e.Type {
		case spec.TypeDir:
			continue
		case spec.TypeSymlink:
			end, ok := t.resolve(e.Path)
			if ok && (t[end] == nil || t[end].Type == spec.TypeDir || path.Base(end) == flat.Path) {
				continue
			}
			if ok {
				flat.Target = path.Base(end)
			}
		}
		if other, ok := top[flat.Path]; ok {
			return nil, refuse(ruleSourceClash, e.Path, "leave one of them out with --exclude, or give it another name with --rename",
				"has the same base name as %q, and --flatten puts both at the top", other.flatFrom)
		}
		flat.flatFrom = e.Path
		top[flat.Path] = &flat
	}
	return top, top.checkTwins()
}
