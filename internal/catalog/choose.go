package catalog

import (
	"path"
	"slices"
)

// Choose gives the tags (or names of releases) that an entry takes, in the order
// of the list. skip tells of a tag that matches that it is not to be taken after
// all, such as the child of an index: with "newest" it is asked from the newest
// tag on, and no longer than needed. Of each pattern the newest tags are taken;
// those that the order cannot compare are left out then.
func (e *Entry) Choose(tags []string, skip func(tag string) (bool, error)) ([]string, error) {
	taken := map[string]bool{}
	for _, pattern := range e.Tags {
		if err := e.choose(pattern, tags, taken, skip); err != nil {
			return nil, err
		}
	}
	var chosen []string
	for _, tag := range tags {
		if taken[tag] {
			chosen = append(chosen, tag)
		}
	}
	return chosen, nil
}

// choose adds what one pattern takes.
func (e *Entry) choose(pattern string, tags []string, taken map[string]bool, skip func(string) (bool, error)) error {
	var matched []string
	for _, tag := range tags {
		if matches([]string{pattern}, tag) && !matches(e.Exclude, tag) && (e.Newest == 0 || e.Order.comparable(tag)) {
			matched = append(matched, tag)
		}
	}
	if e.Newest > 0 {
		slices.SortFunc(matched, func(a, b string) int { return e.Order.compare(b, a) })
	}
	n := 0
	for _, tag := range matched {
		if e.Newest > 0 && n == e.Newest {
			return nil
		}
		skipped, err := skip(tag)
		if err != nil {
			return err
		}
		if !skipped {
			taken[tag] = true
			n++
		}
	}
	return nil
}

// Matches tells whether an entry's patterns, without "newest", take a tag.
func (e *Entry) Matches(tag string) bool { return matches(e.Tags, tag) && !matches(e.Exclude, tag) }

func matches(patterns []string, tag string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, tag)
		return ok && err == nil
	})
}
