package serve

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// arrangement is what a tree shows of one generation, where that is not path by path.
type arrangement struct {
	below  map[string]spec.Entry // by path below the live path
	beside map[string]spec.Entry // by path below the boot directory
}

// arrangementOf reads it from a record; nil for a tree that shows its image as it is.
func arrangementOf(t *bootdir.Tree) *arrangement {
	if t.Arrangement == nil {
		return nil
	}
	a := &arrangement{below: map[string]spec.Entry{}, beside: map[string]spec.Entry{}}
	for _, e := range t.Arrangement.Entries {
		a.below[e.Path] = e
	}
	for _, e := range t.Beside() {
		a.beside[e.Path] = e
	}
	return a
}

// shownAs names one generation of one tree.
type shownAs struct{ live, digest string }

// arranged gives what a generation looks like in a tree. Those of earlier ones are
// known as long as this server has seen them live, as are the machines that began with
// them.
func (v *view) arranged(live, digest string) *arrangement {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shows[shownAs{live, digest}]
}

// remember keeps what trees look like now. What nobody can be tied to any more, because
// the generation is gone, is forgotten.
func (v *view) remember(trees []tree) {
	if v.shows == nil {
		v.shows = map[shownAs]*arrangement{}
	}
	for s := range v.shows {
		if !v.present(s.digest) {
			delete(v.shows, s)
		}
	}
	for _, t := range trees {
		if t.arranged != nil {
			v.shows[shownAs{t.live, t.digest}] = t.arranged
		} else {
			delete(v.shows, shownAs{t.live, t.digest})
		}
	}
}

// lookArranged tells what a client sees of an entry of an arrangement, at a path. home
// is the directory of the generation.
func (w *walk) lookArranged(e spec.Entry, home, p string) (*entry, error) {
	switch e.Type {
	case spec.TypeFile:
		return w.root.look(path.Join(home, bootdir.SourceOf(e)))
	case spec.TypeSymlink:
		return &entry{path: p, kind: unix.S_IFLNK, target: e.Target}, nil
	}
	return w.root.look(p)
}

// at finds the tree that a path belongs to, and the path in it, which begins with a
// slash where it is beside the tree.
func (w *walk) at(p string) (t *tree, rel string) {
	for i := range w.trees {
		t := &w.trees[i]
		if t.arranged.has(p) || w.view.arranged(t.live, w.pins.peek(pinKey{w.client, t.live})).has(p) {
			return t, "/" + p
		}
	}
	for i := range w.trees {
		if rel, ok := w.trees[i].below(p); ok {
			return &w.trees[i], rel
		}
	}
	return nil, ""
}

// has tells whether something stands beside the tree at a path.
func (a *arrangement) has(p string) bool {
	if a == nil {
		return false
	}
	_, ok := a.beside[p]
	return ok
}

// entry finds a path of a tree, as at gives it.
func (a *arrangement) entry(rel string) (spec.Entry, bool) {
	if p, beside := strings.CutPrefix(rel, "/"); beside {
		e, ok := a.beside[p]
		return e, ok
	}
	if rel == "." {
		return spec.Entry{Path: rel, Type: spec.TypeDir}, true
	}
	e, ok := a.below[rel]
	return e, ok
}
