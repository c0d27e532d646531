//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// plan collects what a commit will do, from a first look at the present tree.
type plan struct {
	s   *Stage
	ctx context.Context
	img *Image
	hex string

	tree      *Tree
	old       map[string]bool // managed paths before; true for directories
	exchange  bool
	units     []unit
	strangers []strangerSeen
	states    map[string]FileState
	result    Result
}

// look reads the records, settles the mode and counts what will change.
func (p *plan) look(t *Tree) error {
	d := p.s.d
	cur, err := d.Tree(p.s.live)
	if err != nil {
		return err
	}
	if p.old, err = d.managedPaths(cur); err != nil {
		return err
	}
	if p.exchange, err = p.s.supportsExchange(); err != nil {
		return err
	}
	tree := *t
	tree.Version, tree.Live, tree.Digest = recordVersion, p.s.live, p.img.Digest
	tree.History = nextHistory(cur, p.img.Digest, d.opts.Now())
	if tree.Mode == "" {
		tree.Mode = ModeDir
	}
	if tree.Mode != ModeDir && tree.Mode != ModeLink {
		return fmt.Errorf("unknown mode %q", tree.Mode)
	}
	p.tree, p.states = &tree, map[string]FileState{}
	if err := p.settleMode(); err != nil {
		return err
	}
	return p.count()
}

// settleMode turns a directory into a link where the file system cannot
// exchange, unless a real directory is there already.
func (p *plan) settleMode() error {
	t := p.tree
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

// managedPaths gives the paths that the recorded image of a tree has.
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
	for _, e := range img.Entries {
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

// count compares the staged files with those that are live, by inode.
func (p *plan) count() error {
	for _, e := range p.img.Entries {
		if e.Type != spec.TypeFile {
			continue
		}
		st, err := p.s.gen.statPath(e.Path)
		if err != nil {
			return err
		}
		p.states[e.Path] = stateOf(e.Path, st)
		if old, err := p.s.replaced(e.Path); err != nil {
			return err
		} else if old != nil && sameInode(old, st) {
			p.result.Kept++
		} else {
			p.result.Written++
		}
	}
	return nil
}

// buildUnits stages what is swapped in and lists the swaps.
func (p *plan) buildUnits() error {
	if err := p.generationUnit(); err != nil {
		return err
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
	for _, e := range p.img.Entries {
		if e.Type == spec.TypeFile {
			p.tree.Files = append(p.tree.Files, p.states[e.Path])
		}
	}
	return nil
}

// generationUnit decides about by-digest: a generation that consists of the
// very inodes that were staged is good and stays.
func (p *plan) generationUnit() error {
	p.tree.Files, p.tree.Units = nil, nil
	st, err := p.s.gen.self()
	if err != nil {
		return err
	}
	u := unit{Path: path.Join(generationsName, p.hex), Staged: stagedGeneration, Inode: st.Ino, Generation: true}
	root, err := p.s.d.root.self()
	if err != nil {
		return err
	}
	for _, name := range []string{generationsName, u.Path} {
		st, err := p.s.d.root.statPath(name)
		if isMissing(err) {
			p.units = append(p.units, u)
			return nil
		}
		if err != nil {
			return err
		}
		if !isDir(st) || st.Dev != root.Dev {
			return liveRefusal(name, "nbextract keeps its generations there; move away what has the name",
				"is not a directory of this file system")
		}
		if name == u.Path {
			u.Old = st.Ino
		}
	}
	have, err := p.s.d.root.open(u.Path)
	if err != nil {
		return err
	}
	defer have.close()
	same, err := p.sameTree(have, ".", true)
	if err != nil || same {
		return err
	}
	p.units = append(p.units, u)
	if live, err := p.s.d.linkedNow(p.s.live); err == nil && live == p.hex {
		p.result.Changed = true // the live link shows the repaired generation
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

// sameTree tells whether the entries below top are in dir as they were staged:
// the same inodes, links and directories. With exact, nothing else may be
// there.
func (p *plan) sameTree(dir *dirFD, top string, exact bool) (bool, error) {
	counts := map[string]int{}
	for _, e := range p.img.Entries {
		if top != "." && e.Path != top && !strings.HasPrefix(e.Path, top+"/") {
			continue
		}
		counts[path.Dir(e.Path)]++
		if same, err := p.sameEntry(dir, e); err != nil || !same {
			return false, err
		}
	}
	if !exact {
		return true, nil
	}
	for _, rel := range p.dirsOf() {
		sub, err := dir.open(rel)
		if err != nil {
			return false, err
		}
		names, err := sub.names()
		sub.close()
		if err != nil || len(names) != counts[rel] {
			return false, err
		}
	}
	return true, nil
}

func (p *plan) dirsOf() []string {
	dirs := []string{"."}
	for _, e := range p.img.Entries {
		if e.Type == spec.TypeDir {
			dirs = append(dirs, e.Path)
		}
	}
	return dirs
}

func (p *plan) sameEntry(dir *dirFD, e spec.Entry) (bool, error) {
	st, err := dir.statPath(e.Path)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch e.Type {
	case spec.TypeDir:
		return isDir(st), nil
	case spec.TypeFile:
		return st.Ino == p.states[e.Path].Inode && perm(st) == fileMode, nil
	}
	if !isType(st, unix.S_IFLNK) {
		return false, nil
	}
	up, name, err := dir.parent(e.Path)
	if err != nil {
		return false, err
	}
	defer up.close()
	target, err := up.readlink(name)
	return target == e.Target, err
}

// stale tells whether the image before had something below top that the new
// one lacks.
func (p *plan) stale(top string) bool {
	for name := range p.old {
		if top != "." && name != top && !strings.HasPrefix(name, top+"/") {
			continue
		}
		if _, found := slices.BinarySearchFunc(p.img.Entries, name, func(e spec.Entry, n string) int {
			return strings.Compare(e.Path, n)
		}); !found {
			return true
		}
	}
	return false
}
