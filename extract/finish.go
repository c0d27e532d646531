package extract

import (
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// finish checks the image as a whole and returns what its tree holds: the
// image's entries, hard links as the files they are, and the entry links.
func (in *intake) finish() ([]spec.Entry, error) {
	raw := in.allEntries()
	img := in.target.Image()
	img.Sums, img.HasSums, img.Entries = in.sumList, in.exact, raw
	if err := spec.FirstError(spec.Check(img)); err != nil {
		return nil, err
	}
	tree, copies := newTreeEntries(raw, in.sums)
	for _, c := range copies {
		if _, staged := in.staged[c.Path]; staged { // before SHA256SUM was known
			if err := in.stage.Remove(c.Path); err != nil {
				return nil, err
			}
		}
	}
	links := append(tree.linkCopies(copies, in.target.Labels), tree.entryLinks(in.target.Labels)...)
	for _, link := range links {
		if err := in.stage.Symlink(link.Path, link.Target); err != nil {
			return nil, err
		}
	}
	return tree.list(), nil
}

func (in *intake) allEntries() []spec.Entry {
	var all []spec.Entry
	for i := range in.layers {
		all = append(all, in.entries[i]...)
	}
	return all
}

// treeEntries is the content of a tree by path.
type treeEntries map[string]spec.Entry

// newTreeEntries turns the entries of layers into those of a tree: parents
// are spelled out and hard links are files. Copies of entry links are returned
// apart.
func newTreeEntries(raw []spec.Entry, sums map[string]string) (t treeEntries, copies []spec.Entry) {
	t = treeEntries{}
	beside := map[string]bool{} // directory and content of the listed files
	for _, e := range raw {
		if _, listed := sums[e.Path]; listed {
			beside[path.Dir(e.Path)+" "+e.SHA256] = true
		}
	}
	for _, e := range raw {
		if e.Path == "." {
			continue
		}
		e.Layer = 0
		if isEntryLinkCopy(e, sums) && (e.Type == spec.TypeFile || beside[path.Dir(e.Path)+" "+e.SHA256]) {
			copies = append(copies, e)
			continue
		}
		if e.Type == spec.TypeHardlink {
			e.Type, e.Target = spec.TypeFile, ""
		}
		t[e.Path] = e
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			t[dir] = spec.Entry{Path: dir, Type: spec.TypeDir}
		}
	}
	return t, copies
}

// linkCopies makes links again of the entry links that a builder had turned
// into files: to the labelled entrypoint where that is the same file, else to
// the first file of the directory with the same content.
func (t treeEntries) linkCopies(copies []spec.Entry, labels map[string]string) []spec.Entry {
	var added []spec.Entry
	first := map[string]string{} // directory and content → base name
	for _, e := range t {
		key := path.Dir(e.Path) + " " + e.SHA256
		if base, ok := first[key]; e.Type == spec.TypeFile && (!ok || path.Base(e.Path) < base) {
			first[key] = path.Base(e.Path)
		}
	}
	for _, c := range copies {
		dir := path.Dir(c.Path)
		target := first[dir+" "+c.SHA256]
		for _, l := range spec.EntryLinks() {
			named := labels[l.Label]
			if path.Base(c.Path) == l.Name && path.Dir(named) == dir && t[named].SHA256 == c.SHA256 {
				target = path.Base(named)
			}
		}
		link := spec.Entry{Path: c.Path, Type: spec.TypeSymlink, Target: target}
		t[c.Path] = link
		added = append(added, link)
	}
	return added
}

// entryLinks adds the links that machines ask for where the image lacks them,
// and returns those it added: BOOT and its like from the labels, for EFI
// programs a twin that ends in .efi, because firmware that boots over HTTP
// from a plain web server judges a file by its name, and the module of pxelinux.
func (t treeEntries) entryLinks(labels map[string]string) []spec.Entry {
	var added []spec.Entry
	folded := map[string]bool{}
	for p := range t {
		folded[spec.FoldKey(p)] = true
	}
	add := func(name, target string) {
		if !folded[spec.FoldKey(name)] {
			folded[spec.FoldKey(name)] = true
			e := spec.Entry{Path: name, Type: spec.TypeSymlink, Target: target}
			t[name] = e
			added = append(added, e)
		}
	}
	for _, l := range spec.EntryLinks() {
		entrypoint := labels[l.Label]
		if entrypoint == "" {
			continue
		}
		link := spec.LinkFor(entrypoint, l.Name)
		add(link, path.Base(entrypoint))
		if strings.EqualFold(path.Ext(entrypoint), ".efi") {
			add(link+".efi", path.Base(entrypoint))
		}
	}
	if legacy := labels[spec.LabelLegacyEntrypoint]; legacy != "" {
		if module := t.module(legacy); module != "" {
			target, _ := filepath.Rel(path.Dir(legacy), module) // both are clean and relative
			add(spec.LinkFor(legacy, path.Base(module)), target)
		}
	}
	return added
}

// module gives the file that pxelinux cannot start without, if the image has it, but not
// where it is looked for: beside the name that pxelinux was loaded by.
func (t treeEntries) module(legacy string) string {
	const name = "ldlinux.c32"
	var found []string
	for p, e := range t {
		if path.Base(p) == name && e.Type == spec.TypeFile {
			found = append(found, p)
		}
	}
	if _, there := t[spec.LinkFor(legacy, name)]; there || len(found) == 0 {
		return ""
	}
	return slices.Min(found)
}

func (t treeEntries) list() []spec.Entry {
	all := make([]spec.Entry, 0, len(t))
	for _, e := range t {
		all = append(all, e)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	return all
}
