package layout

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// Arrangement is what a tree shows of an image. A regular file whose name is another
// one than in the image has in Target the path that it has there.
type Arrangement struct {
	Entries []spec.Entry // below the live path, sorted
	Beside  []spec.Entry // outside of it, below the boot directory, sorted
}

// Arrange says what the tree of an image shows; nil means the image path by path.
// entries are those of the finished tree, with its entrypoint links. partial says that
// only its files are known yet: then links may be missing from the answer.
//
// An image that lacks what the layout is about is refused.
func (l Layout) Arrange(labels map[string]string, entries []spec.Entry, partial bool) (*Arrangement, error) {
	if l.arrange == nil {
		return nil, nil
	}
	live, err := l.Live(labels)
	if err != nil {
		return nil, err
	}
	a := &arranger{layout: l.name, labels: labels, live: live, partial: partial, image: entries,
		by: map[string]spec.Entry{}, out: map[string]spec.Entry{}, beside: map[string]spec.Entry{}}
	if a.arch, err = archOf(labels[spec.LabelOSArch]); err != nil {
		return nil, err
	}
	for _, e := range entries {
		a.by[e.Path] = e
	}
	if err := l.arrange(a); err != nil {
		return nil, err
	}
	return &Arrangement{sorted(a.out), sorted(a.beside)}, nil
}

func sorted(m map[string]spec.Entry) []spec.Entry {
	var list []spec.Entry
	for _, p := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[p])
	}
	return list
}

// arranger puts an arrangement together.
type arranger struct {
	layout  string
	labels  map[string]string
	live    string
	arch    arch
	partial bool
	image   []spec.Entry
	by      map[string]spec.Entry // of the image, by path
	out     map[string]spec.Entry
	beside  map[string]spec.Entry
}

// file finds the regular file that a path of the image leads to.
func (a *arranger) file(p string) (spec.Entry, bool) {
	for range 40 {
		e, ok := a.by[p]
		if !ok || e.Type == spec.TypeDir {
			return spec.Entry{}, false
		}
		if e.Type == spec.TypeFile {
			return e, true
		}
		p = path.Join(path.Dir(p), e.Target)
	}
	return spec.Entry{}, false
}

// show puts a file of the image into the tree, under a name. The first that takes a
// name has it. It is false if there is no such file.
func (a *arranger) show(name, from string) bool {
	if !a.put(a.out, name, from) {
		return false
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		a.out[dir] = spec.Entry{Path: dir, Type: spec.TypeDir}
	}
	return true
}

// aside puts a file of the image beside the tree.
func (a *arranger) aside(name, from string) bool { return a.put(a.beside, name, from) }

func (a *arranger) put(to map[string]spec.Entry, name, from string) bool {
	e, ok := a.file(from)
	if _, taken := to[name]; !ok || taken {
		return ok
	}
	e.Target = ""
	if e.Path != name {
		e.Target = e.Path
	}
	e.Path, e.Layer = name, 0
	to[name] = e
	return true
}

// link adds a link, unless the name is taken.
func (a *arranger) link(to map[string]spec.Entry, name, target string) {
	if _, taken := to[name]; !taken {
		to[name] = spec.Entry{Path: name, Type: spec.TypeSymlink, Target: target}
	}
}

// below shows what the image has below one of its directories ("." for all of it),
// without that directory. Links that lead out of it are left out.
func (a *arranger) below(dir string) {
	inside := func(p string) (string, bool) {
		if dir == "." {
			return p, true
		}
		return strings.CutPrefix(p, dir+"/")
	}
	for _, e := range a.image {
		name, ok := inside(e.Path)
		if !ok {
			continue
		}
		switch e.Type {
		case spec.TypeFile:
			a.show(name, e.Path)
		case spec.TypeSymlink:
			if _, ok := inside(path.Join(path.Dir(e.Path), e.Target)); ok {
				a.out[name] = spec.Entry{Path: name, Type: e.Type, Target: e.Target}
			}
		default:
			a.out[name] = spec.Entry{Path: name, Type: e.Type}
		}
	}
}

// has tells whether the image has anything below a directory.
func (a *arranger) has(dir string) bool {
	return slices.ContainsFunc(a.image, func(e spec.Entry) bool { return strings.HasPrefix(e.Path, dir+"/") })
}

// first is the path of the EFI program that firmware starts, usually shim.
func (a *arranger) first() string { return a.labels[spec.LabelEntrypoint] }

// second is the path of the EFI program that shim starts, usually grub: the label, or
// what lies beside the first under one of its usual names.
func (a *arranger) second() string {
	if p := a.labels[spec.LabelAltEntrypoint]; p != "" {
		return p
	}
	for _, base := range []string{"grub" + a.arch.efi + ".efi", "grub.efi"} {
		if p := path.Join(path.Dir(a.first()), base); a.first() != "" && a.by[p].Type == spec.TypeFile {
			return p
		}
	}
	return ""
}

// beneath lists the files of a directory of the image whose names end in suffix.
func (a *arranger) beneath(dir, suffix string) []string {
	var found []string
	for _, e := range a.image {
		if e.Type == spec.TypeFile && path.Dir(e.Path) == dir && strings.HasSuffix(strings.ToLower(e.Path), suffix) {
			found = append(found, e.Path)
		}
	}
	return found
}

// lacks refuses an image without something that a layout is about. When only a part
// of the image is known, it is looked at again later.
func (a *arranger) lacks(what, advice string) error {
	if a.partial {
		return nil
	}
	r := spec.Refuse(spec.RuleEntrypoint, "", "the image has no %s, which the layout %q needs", what, a.layout)
	r.Advice = advice
	return r
}
