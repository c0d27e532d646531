package pack

import (
	"path"
	"strings"
)

// filter chooses names by globs.
//
// A glob is matched element by element with the rules of path.Match; an element
// ** stands for any number of elements, also none. A glob with a slash in it is
// matched against the whole name from the top, one without against every element
// alone, at any depth. What matches a directory holds for everything below it.
type filter struct {
	include, exclude []glob
}

// glob is a pattern, split into elements.
type glob struct {
	text     string
	elements []string
	floating bool // no slash: matches at any depth
}

func newFilter(include, exclude []string) (*filter, error) {
	f := &filter{}
	var err error
	if f.include, err = parseGlobs("--include", include); err != nil {
		return nil, err
	}
	if f.exclude, err = parseGlobs("--exclude", exclude); err != nil {
		return nil, err
	}
	return f, nil
}

func parseGlobs(flag string, patterns []string) ([]glob, error) {
	globs := make([]glob, 0, len(patterns))
	for _, p := range patterns {
		g := glob{text: p, floating: !strings.Contains(strings.TrimSuffix(p, "/"), "/")}
		g.elements = strings.Split(strings.Trim(p, "/"), "/")
		for _, e := range g.elements {
			if _, err := path.Match(e, ""); err != nil || e == "" || e == "." || e == ".." {
				return nil, badOption("a glob looks like '*.efi' or 'EFI/**/fonts'", "%s: %q is not a glob", flag, p)
			}
		}
		globs = append(globs, g)
	}
	return globs, nil
}

// excluded tells whether a name, or a directory that it is in, is excluded.
func (f *filter) excluded(name string) bool { return anyMatch(f.exclude, name) }

// included tells whether a name is wanted: without --include everything is.
func (f *filter) included(name string) bool {
	return len(f.include) == 0 || anyMatch(f.include, name)
}

// unused gives the first include glob that none of the names matches, or "".
func (f *filter) unused(names []string) string {
	for _, g := range f.include {
		used := false
		for _, n := range names {
			used = used || g.match(n)
		}
		if !used {
			return g.text
		}
	}
	return ""
}

func anyMatch(globs []glob, name string) bool {
	for _, g := range globs {
		if g.match(name) {
			return true
		}
	}
	return false
}

// match tells whether the glob matches the name or a directory above it.
func (g glob) match(name string) bool {
	elements := strings.Split(name, "/")
	if g.floating {
		for _, e := range elements {
			if g.elements[0] == "**" || matchOne(g.elements[0], e) {
				return true
			}
		}
		return false
	}
	return matchPrefix(g.elements, elements)
}

// matchPrefix matches the pattern against names[:n] for any n ≥ 1. Equal
// elements around ** are tried from every place, at most len(pattern) times
// len(names) of them, by advancing a set of places in the pattern.
func matchPrefix(pattern, names []string) bool {
	places := make([]bool, len(pattern)+1)
	places[0] = true
	spread(pattern, places)
	for _, n := range names {
		next := make([]bool, len(pattern)+1)
		for i, p := range pattern {
			if places[i] && p == "**" {
				next[i] = true
			} else if places[i] && matchOne(p, n) {
				next[i+1] = true
			}
		}
		spread(pattern, next)
		if next[len(pattern)] {
			return true
		}
		places = next
	}
	return false
}

// spread lets ** stand for nothing.
func spread(pattern []string, places []bool) {
	for i, p := range pattern {
		if places[i] && p == "**" {
			places[i+1] = true
		}
	}
}

// matchOne matches one element. The pattern was checked when it was parsed.
func matchOne(pattern, element string) bool {
	ok, err := path.Match(pattern, element)
	return ok && err == nil
}
