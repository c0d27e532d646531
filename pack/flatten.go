package pack

import (
	"path"
	"strconv"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// flattener replaces links by what they lead to.
type flattener struct {
	from  tree
	below map[string][]string // names in each directory of from
	to    tree
	steps int
}

// flatten gives the tree as somebody sees it who follows every link: files
// alone. A link to a directory becomes all that is below it, under its own name.
// The links must have passed checkLinks.
func (t tree) flatten() (tree, error) {
	f := &flattener{from: t, below: map[string][]string{}, to: tree{}}
	for _, e := range t.sorted() {
		dir := path.Dir(e.Path)
		f.below[dir] = append(f.below[dir], e.Path)
	}
	if err := f.dir(".", ".", nil); err != nil {
		return nil, err
	}
	return f.to, f.to.checkTwins()
}

// dir puts all that is below the directory real under the name at. The
// directories that it was reached through are in way: one that comes again
// would never end.
func (f *flattener) dir(at, real string, way []string) error {
	way = append(way, real)
	for _, p := range f.below[real] {
		end, _ := f.from.resolve(p)
		if err := f.put(path.Join(at, path.Base(p)), p, end, way); err != nil {
			return err
		}
	}
	return nil
}

// put gives the entry at end, which is or is reached by the entry p, the name at.
func (f *flattener) put(at, p, end string, way []string) error {
	// Links to directories with links to directories multiply.
	if f.steps++; f.steps > spec.MaxEntries {
		return refuse(ruleSourceLink, p, "leave links to directories out with --exclude",
			"following all links gives more than %d names", spec.MaxEntries)
	}
	if e := f.from[end]; e != nil && e.Type == spec.TypeFile {
		if err := spec.CheckPath(at); err != nil {
			return err
		}
		file := *e
		file.Path = at
		f.to[at] = &file
		return nil
	}
	for _, dir := range way {
		if dir == end {
			return refuse(ruleSourceLink, p, "leave it out with --exclude",
				"leads to a directory that it lies in: following it has no end")
		}
	}
	return f.dir(at, end, way)
}

// flattenRemark says what became of what only an image can hold, or nothing.
func flattenRemark(log func(string, ...any), before, after tree) {
	links, empty := 0, 0
	full := map[string]bool{}
	for p := range after {
		for _, dir := range parents(p) {
			full[dir] = true
		}
	}
	for _, e := range before {
		switch {
		case e.Type == spec.TypeSymlink:
			links++
		case e.Type == spec.TypeDir && !full[e.Path]:
			empty++
		}
	}
	var said []string
	if links > 0 {
		said = append(said, plural(links, "link becomes a copy of what it leads to", "links become copies of what they lead to"))
	}
	if empty > 0 {
		said = append(said, plural(empty, "empty directory is", "empty directories are")+" left out")
	}
	if len(said) > 0 {
		log("an artifact holds files alone: %s", strings.Join(said, ", "))
	}
}

// plural counts things in words.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
