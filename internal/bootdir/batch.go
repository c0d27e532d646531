//go:build linux

package bootdir

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// batch is a commit in the making: one generation, and the trees that show it.
type batch struct {
	s        *Stage
	ctx      context.Context
	img      *Image
	hex      string
	exchange bool                    // the file system can
	files    map[string]*unix.Stat_t // of the generation, as they are staged
	plans    []*plan
	units    []unit
	moved    bool // the generation is put in place
}

// plan says what happens to one tree of the batch, from a first look at it.
type plan struct {
	*batch
	part int // its place in the batch

	tree      *Tree
	entries   []spec.Entry    // what the tree will show below its live path
	old       map[string]bool // managed paths before; true for directories
	oldBeside map[string]bool // what it had beside itself
	standing  *dirFD          // where its managed files are now; nil for none
	strangers []strangerSeen
	states    map[string]FileState
	later     map[string]unix.Timespec // files that need a time of their own, and so a copy; by path, or besideKey
	result    Result
}

// newBatch looks at all trees, and decides about times and counts.
func (s *Stage) newBatch(ctx context.Context, img *Image, trees []*Tree) (b *batch, err error) {
	b = &batch{s: s, ctx: ctx, img: img, files: map[string]*unix.Stat_t{}}
	if b.hex, err = digestHex(img.Digest); err != nil {
		return nil, err
	}
	if b.exchange, err = s.supportsExchange(); err != nil {
		return nil, err
	}
	for i, t := range trees {
		p := &plan{batch: b, part: i, states: map[string]FileState{}, later: map[string]unix.Timespec{}}
		b.plans = append(b.plans, p)
		if err := p.look(t); err != nil {
			return b, err
		}
	}
	for _, p := range b.plans {
		if err := p.settleTimes(); err != nil {
			return b, err
		}
	}
	for _, e := range img.Entries {
		if e.Type != spec.TypeFile {
			continue
		}
		if b.files[e.Path], err = s.gen.statPath(e.Path); err != nil {
			return b, err
		}
	}
	for _, p := range b.plans {
		if err := p.count(); err != nil {
			return b, err
		}
	}
	return b, nil
}

// close closes what the plans have open.
func (b *batch) close() {
	for _, p := range b.plans {
		p.standing.close()
	}
}

// buildUnits stages what is swapped in and lists the swaps: the generation, the
// trees, what stands beside them with the links last, and what goes away.
func (b *batch) buildUnits() error {
	if err := b.generationUnit(); err != nil {
		return err
	}
	for _, p := range b.plans {
		if err := p.treeUnit(); err != nil {
			return err
		}
	}
	for _, rank := range []besideRank{besideFiles, besideLinks, besideGone} {
		for _, p := range b.plans {
			if err := p.besideUnits(rank); err != nil {
				return err
			}
		}
	}
	return b.checkClaims()
}

// checkClaims keeps the trees of the batch apart from one another and from others.
func (b *batch) checkClaims() error {
	var lives []string
	for _, p := range b.plans {
		lives = append(lives, p.tree.Live)
	}
	for i, p := range b.plans {
		if err := b.s.d.checkClaims(p.tree.Units, lives...); err != nil {
			return err
		}
		for _, q := range b.plans[:i] {
			if err := disjoint(p.tree.Units, q.tree.Units, q.tree.Live); err != nil {
				return err
			}
		}
	}
	return nil
}

// generationUnit decides about by-digest: a generation that consists of the
// very inodes that were staged is good and stays.
func (b *batch) generationUnit() error {
	st, err := b.s.gen.self()
	if err != nil {
		return err
	}
	d := b.s.d
	u := unit{Path: path.Join(generationsName, b.hex), Staged: stagedGeneration, Inode: st.Ino, Generation: true}
	root, err := d.root.self()
	if err != nil {
		return err
	}
	for _, name := range []string{generationsName, u.Path} {
		st, err := d.root.statPath(name)
		if isMissing(err) {
			b.units, b.moved = append(b.units, u), true
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
	have, err := d.root.open(u.Path)
	if err != nil {
		return err
	}
	defer have.close()
	same, err := b.sameTree(have, b.img.Entries, ".", true)
	if err != nil || same {
		return err
	}
	b.units, b.moved = append(b.units, u), true
	return nil
}

// sameTree tells whether the entries below top are in dir as they were staged:
// the same inodes, links and directories. With exact, nothing else may be
// there.
func (b *batch) sameTree(dir *dirFD, entries []spec.Entry, top string, exact bool) (bool, error) {
	counts := map[string]int{}
	for _, e := range entries {
		if top != "." && e.Path != top && !strings.HasPrefix(e.Path, top+"/") {
			continue
		}
		counts[path.Dir(e.Path)]++
		if same, err := b.sameEntry(dir, e); err != nil || !same {
			return false, err
		}
	}
	if !exact {
		return true, nil
	}
	for _, rel := range dirsOf(entries) {
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

func dirsOf(entries []spec.Entry) []string {
	dirs := []string{"."}
	for _, e := range entries {
		if e.Type == spec.TypeDir {
			dirs = append(dirs, e.Path)
		}
	}
	return dirs
}

func (b *batch) sameEntry(dir *dirFD, e spec.Entry) (bool, error) {
	st, err := dir.statPath(e.Path)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch e.Type {
	case spec.TypeDir:
		return isDir(st) && b.s.attrs.wrong(e.Type, st) == "", nil
	case spec.TypeFile:
		return sameInode(st, b.files[SourceOf(e)]) && b.s.attrs.wrong(e.Type, st) == "", nil
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

// commit writes down the batch as a journal.
func (b *batch) commit() (*commit, error) {
	s := b.s
	if err := s.d.ops.fsync(s.dir.fd, s.dir.path); err != nil {
		return nil, err
	}
	stages, err := s.d.stateDir(stageName, false)
	if err != nil {
		return nil, err
	}
	defer stages.close()
	if err := s.d.ops.fsync(stages.fd, stages.path); err != nil {
		return nil, err
	}
	j := &journal{Version: journalVersion, ID: s.id, Generation: b.hex, AllowGap: s.d.opts.AllowGap, Units: b.units, Image: b.img}
	known, err := s.d.Image(b.img.Digest)
	if err != nil {
		return nil, err
	}
	j.Known = known != nil
	c := &commit{d: s.d, j: j}
	for _, p := range b.plans {
		j.Parts = append(j.Parts, p.journalled())
		c.results = append(c.results, p.result)
	}
	if j.Parents, err = b.missingParents(); err != nil {
		return nil, err
	}
	if err := j.check(); err != nil {
		return nil, errors.Join(errors.New("journal"), err)
	}
	return c, nil
}

// missingParents lists the directories that the units need and that are not
// there, outermost first.
func (b *batch) missingParents() ([]string, error) {
	var missing []string
	for _, u := range b.units {
		for _, dir := range above(u.Path) {
			_, err := b.s.d.root.statPath(dir)
			if err == nil || slices.Contains(missing, dir) {
				continue
			}
			if !isMissing(err) {
				return nil, err
			}
			missing = append(missing, dir)
		}
	}
	return missing, nil
}
