//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// look reads the records and settles the mode.
func (p *plan) look(t *Tree) error {
	d := p.s.d
	if err := d.CheckLive(t.Live); err != nil {
		return err
	}
	cur, err := d.Tree(t.Live)
	if err != nil {
		return err
	}
	if p.old, err = d.managedPaths(cur); err != nil {
		return err
	}
	p.oldBeside = besideOf(cur)
	tree := *t
	tree.Version, tree.Digest = recordVersion, p.img.Digest
	tree.History = nextHistory(cur, p.img.Digest, d.opts.Now())
	tree.Files, tree.Units, tree.Attributes = nil, nil, p.s.attrs
	if tree.Mode == "" {
		tree.Mode = ModeDir
	}
	if tree.Mode != ModeDir && tree.Mode != ModeLink {
		return fmt.Errorf("unknown mode %q", tree.Mode)
	}
	if tree.Arrangement, err = t.Arrangement.complete(); err != nil {
		return err
	}
	if err := errors.Join(checkArrangement(t.Live, tree.Arrangement), tree.Arrangement.fits(p.img)); err != nil {
		return err
	}
	p.tree, p.entries = &tree, tree.Shown(p.img)
	if p.standing, err = d.openManaged(t.Live); err != nil {
		return err
	}
	return p.settleMode()
}

// settleMode turns a directory into a link where the file system cannot
// exchange, unless a real directory is there already.
func (p *plan) settleMode() error {
	t := p.tree
	if t.Arrangement != nil {
		if t.Mode == ModeLink {
			return withHint(errors.New("a layout that renames files or leaves some out has no link mode"), "use --live dir, or another --layout")
		}
		return nil // nothing else could show it
	}
	if t.Live == FlatLive {
		if t.Mode == ModeLink {
			return withHint(errors.New("the flat layout has no link mode"), "use --live dir, or a layout with a directory")
		}
		return nil
	}
	if t.Mode == ModeLink || p.exchange {
		return nil
	}
	st, err := p.s.d.root.statPath(t.Live)
	if err == nil && isDir(st) && p.s.d.opts.AllowGap {
		return nil // asked for a directory, and a gap is allowed
	}
	if err != nil && !isMissing(err) {
		return err
	}
	p.s.d.opts.Log("this file system cannot exchange directories: %q becomes a link to its generation", t.Live)
	t.Mode = ModeLink
	return nil
}

// managedPaths gives the paths that a tree has below its live path, as recorded.
func (d *Dir) managedPaths(t *Tree) (map[string]bool, error) {
	if t == nil {
		return nil, nil
	}
	img, err := d.Image(t.Digest)
	if err != nil {
		return nil, err
	}
	if img == nil {
		return nil, withHint(fmt.Errorf("the facts of %s, which %q holds, are missing", t.Digest, t.Live), damagedHint)
	}
	paths := map[string]bool{}
	for _, e := range t.Shown(img) {
		paths[e.Path] = e.Type == spec.TypeDir
	}
	return paths, nil
}

// nextHistory puts a digest in front of a tree's history.
func nextHistory(cur *Tree, digest string, now time.Time) []Generation {
	now = now.UTC()
	next := []Generation{{Digest: digest, Installed: now}}
	if cur == nil {
		return next
	}
	for i, g := range cur.History {
		switch {
		case g.Digest == digest && i == 0:
			next[0].Installed = g.Installed
		case g.Digest == digest:
		default:
			if i == 0 {
				g.Superseded = now
			}
			next = append(next, g)
		}
	}
	return next
}

// replaced looks at what the tree has at a path now; nil for nothing.
func (p *plan) replaced(rel string) (*unix.Stat_t, error) {
	if p.standing == nil {
		return nil, nil
	}
	st, err := p.standing.statPath(rel)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	return st, err
}

// settleTimes keeps the rule that what appears at a path is younger than what it
// replaces. The stage did that for the paths of the image; under other names, or in
// another tree, the same file may replace a younger one. A file that nobody sees yet
// gets a new time, for another one a copy is made.
func (p *plan) settleTimes() error {
	if p.tree.Arrangement == nil && p.tree.Live == p.s.live {
		return nil
	}
	for _, e := range p.entries {
		if err := p.settleTime(e, e.Path, p.replaced); err != nil {
			return err
		}
	}
	for _, e := range p.tree.Beside() {
		if err := p.settleTime(e, besideKey(e.Path), func(string) (*unix.Stat_t, error) { return p.s.d.lookBeside(e.Path) }); err != nil {
			return err
		}
	}
	return nil
}

// settleTime does that for one entry, which replaces what look finds at its key.
func (p *plan) settleTime(e spec.Entry, key string, look func(string) (*unix.Stat_t, error)) error {
	if e.Type != spec.TypeFile {
		return nil
	}
	old, err := look(key)
	if err != nil {
		return err
	}
	from, name, err := p.s.gen.parent(SourceOf(e))
	if err != nil {
		return err
	}
	defer from.close()
	st, err := from.stat(name)
	if err != nil || old == nil || sameInode(old, st) || st.Mtim.Nano() >= old.Mtim.Nano()+1e9 {
		return err
	}
	next := unix.NsecToTimespec(max(p.s.d.opts.Now().UnixNano(), old.Mtim.Nano()+1e9))
	if st.Nlink == 1 {
		return p.s.d.ops.setMtime(from, name, next)
	}
	p.later[key] = next
	return nil
}

// count compares the staged files with those that are live, by inode.
func (p *plan) count() error {
	for _, e := range p.entries {
		if e.Type != spec.TypeFile {
			continue
		}
		st := p.files[SourceOf(e)]
		p.states[e.Path] = stateOf(e.Path, st)
		if old, err := p.replaced(e.Path); err != nil {
			return err
		} else if old != nil && sameInode(old, st) {
			p.result.Kept++
		} else {
			p.result.Written++
		}
	}
	return nil
}

// treeUnit stages what is swapped in at the live path.
func (p *plan) treeUnit() error {
	if p.moved {
		if live, err := p.s.d.linkedNow(p.tree.Live); err == nil && live == p.hex {
			p.result.Changed = true // the live link shows the repaired generation
		}
	}
	var err error
	switch {
	case p.tree.Live == FlatLive:
		err = p.flatUnits()
	case p.tree.Mode == ModeLink:
		err = p.linkUnit()
	default:
		err = p.dirUnit()
	}
	if err != nil {
		return err
	}
	for _, e := range p.entries {
		if e.Type == spec.TypeFile {
			p.tree.Files = append(p.tree.Files, p.states[e.Path])
		}
	}
	return nil
}

// linkedNow is linkedGeneration for a path that may be anything.
func (d *Dir) linkedNow(live string) (string, error) {
	if live == FlatLive {
		return "", nil
	}
	st, err := d.root.statPath(live)
	if err != nil || !isType(st, unix.S_IFLNK) {
		return "", err
	}
	return d.linkedGeneration(live)
}

// same tells whether the tree shows the entries below top already. A file that needs
// a time of its own is not the one that is there.
func (p *plan) same(dir *dirFD, top string) (bool, error) {
	for rel := range p.later {
		if isInside(rel, top) && !strings.HasPrefix(rel, besideKey("")) {
			return false, nil
		}
	}
	return p.sameTree(dir, p.entries, top, false)
}

// stale tells whether the tree had something below top that it is not to have.
func (p *plan) stale(top string) bool {
	for name := range p.old {
		if top != "." && name != top && !strings.HasPrefix(name, top+"/") {
			continue
		}
		if _, found := findEntry(p.entries, name); !found {
			return true
		}
	}
	return false
}

// journalled is what the journal says of the tree.
func (p *plan) journalled() part {
	w := part{Tree: p.tree, Strangers: p.strangers}
	for name, dir := range p.old {
		w.Old = append(w.Old, managedPath{name, dir})
	}
	slices.SortFunc(w.Old, func(a, b managedPath) int { return strings.Compare(a.Path, b.Path) })
	w.OldBeside = slices.Sorted(maps.Keys(p.oldBeside))
	return w
}
