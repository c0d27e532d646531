//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// besideRank orders what stands beside trees: no link before what it leads to, and
// removals last.
type besideRank int

const (
	besideFiles besideRank = iota
	besideLinks
	besideGone
)

// besideUnits stages what the tree has in directories that it does not own.
func (p *plan) besideUnits(rank besideRank) error {
	if rank == besideGone {
		return p.besideGone()
	}
	for _, e := range p.tree.Beside() {
		if (e.Type == spec.TypeSymlink) != (rank == besideLinks) {
			continue
		}
		if err := p.besideUnit(e); err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	return nil
}

func (p *plan) besideUnit(e spec.Entry) error {
	p.tree.Units = append(p.tree.Units, e.Path)
	st, err := p.s.d.lookBeside(e.Path)
	if err != nil {
		return err
	}
	u := p.newBeside(e.Path)
	if st != nil {
		if same, err := p.sameEntry(p.s.d.root, e); err != nil || same {
			return err
		}
		if err := p.besideClash(e, st); err != nil {
			return err
		}
		u.Old = st.Ino
	}
	if err := p.stageBeside(e, u.Staged); err != nil {
		return err
	}
	return p.addUnit(u)
}

// lookBeside looks at a path that is to stand beside a tree; nil for nothing. No
// directory above it may be a link, or another mount.
func (d *Dir) lookBeside(p string) (*unix.Stat_t, error) {
	root, err := d.root.self()
	if err != nil {
		return nil, err
	}
	for _, dir := range above(p) {
		st, err := d.root.statPath(dir)
		if isMissing(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if !isDir(st) || st.Dev != root.Dev {
			return nil, liveRefusal(dir, noLinkAdvice, "is not a directory of this file system")
		}
	}
	st, err := d.root.statPath(p)
	if isMissing(err) {
		return nil, nil
	}
	return st, err
}

// besideClash refuses to replace what the site has there.
func (p *plan) besideClash(e spec.Entry, st *unix.Stat_t) error {
	if _, ours := p.oldBeside[e.Path]; ours && !isDir(st) {
		return nil
	}
	up, name, err := p.s.d.root.parent(e.Path)
	if err != nil {
		return err
	}
	defer up.close()
	if same, err := sameContent(e, up, name, st); err != nil || same {
		return err
	}
	return siteRefusal(e.Path)
}

// newBeside is the unit of a path, with a name in the stage that no other has.
func (p *plan) newBeside(at string) unit {
	return unit{Path: at, Staged: path.Join(stagedBeside, fmt.Sprint(len(p.units))), Part: p.part}
}

func (p *plan) stageBeside(e spec.Entry, staged string) error {
	to, err := p.besideStage()
	if err != nil {
		return err
	}
	defer to.close()
	name := path.Base(staged)
	if e.Type == spec.TypeSymlink {
		err = p.s.symlink(e.Target, to, name)
	} else {
		var b *builder
		if b, err = p.builder(); err == nil {
			err = b.linkManaged(spec.Entry{Path: besideKey(e.Path), Type: e.Type, Size: e.Size, SHA256: e.SHA256, Target: SourceOf(e)}, to, name)
			delete(b.states, besideKey(e.Path)) // a copy is hashed on each look
		}
	}
	if err != nil {
		return err
	}
	return p.s.d.ops.fsync(to.fd, to.path)
}

// besideStage opens the directory of the stage for what stands beside trees.
func (b *batch) besideStage() (*dirFD, error) {
	dir, err := b.s.dir.open(stagedBeside)
	if !isMissing(err) {
		return dir, err
	}
	if err := b.s.d.ops.mkdir(b.s.dir, stagedBeside, 0o700); err != nil {
		return nil, err
	}
	return b.s.dir.open(stagedBeside)
}

// besideGone lists what the tree had beside itself, and is not to have.
func (p *plan) besideGone() error {
	for _, name := range slices.Sorted(maps.Keys(p.oldBeside)) {
		if slices.ContainsFunc(p.tree.Beside(), func(e spec.Entry) bool { return e.Path == name }) {
			continue
		}
		st, err := p.s.d.lookBeside(name)
		if err != nil {
			return err
		}
		if st == nil || isDir(st) {
			continue // gone already, or the site's now
		}
		dir, err := p.besideStage()
		if err != nil {
			return err
		}
		dir.close()
		u := p.newBeside(name)
		u.Old = st.Ino
		p.units = append(p.units, u)
		p.result.Changed = true
	}
	return nil
}

// compareBeside gives what is wrong with what stands beside the tree. A file there
// is good if it is the inode that the tree shows, too, and that was looked at; any
// other one is read.
func (c *comparison) compareBeside(d *Dir) ([]Problem, error) {
	if len(c.tree.Beside()) == 0 {
		return nil, nil
	}
	states := map[string]FileState{}
	for _, e := range c.tree.Arrangement.Entries {
		if i, ok := c.states[e.Path]; ok && e.Type == spec.TypeFile {
			states[SourceOf(e)] = c.tree.Files[i]
		}
	}
	at := newCursor(d.root)
	defer at.close()
	var problems []Problem
	for _, e := range c.tree.Beside() {
		what, err := c.besideProblem(at, e, states[SourceOf(e)])
		if err != nil {
			return problems, err
		}
		if what != "" {
			problems = append(problems, Problem{besideKey(e.Path), what})
		}
	}
	return problems, nil
}

func (c *comparison) besideProblem(at *cursor, e spec.Entry, shown FileState) (string, error) {
	st, err := at.stat(e.Path)
	switch {
	case isMissing(err), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return Missing, nil
	case err != nil:
		return "", err
	case e.Type == spec.TypeSymlink && !isType(st, unix.S_IFLNK), e.Type == spec.TypeFile && !isType(st, unix.S_IFREG):
		return WrongType, nil
	case e.Type == spec.TypeFile && st.Size != e.Size:
		return WrongSize, nil
	}
	if what, err := c.tree.Attributes.worn(at, e, st); what != "" || err != nil {
		return what, err
	}
	if e.Type == spec.TypeFile && !c.checksum && stateOf(shown.Path, st) == shown {
		return "", nil
	}
	if err := c.ctx.Err(); err != nil {
		return "", err
	}
	dir, name, err := at.at(e.Path)
	if err != nil {
		return "", err
	}
	if same, err := sameContent(e, dir, name, st); err != nil || same {
		return "", err
	}
	if e.Type == spec.TypeSymlink {
		return WrongTarget, nil
	}
	return WrongBytes, nil
}
