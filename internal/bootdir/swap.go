//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// place makes the parents and swaps every unit in.
func (c *commit) place() error {
	for _, dir := range c.j.Parents {
		if err := c.makeParent(dir); err != nil {
			return err
		}
	}
	for i := range c.j.Units {
		if err := c.swap(i, true); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) makeParent(dir string) error {
	up, name, err := c.d.root.parent(dir)
	if err != nil {
		return err
	}
	defer up.close()
	err = c.d.ops.mkdir(up, name, dirMode)
	if err == nil {
		err = c.dressParent(dir, up, name)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return c.d.ops.fsync(up.fd, up.path)
}

// unitState tells how far one unit came.
type unitState int

const (
	unitPending unitState = iota // nothing has happened
	unitGap                      // the old one is out, the new one not in
	unitDone
)

func gapName(i int) string { return fmt.Sprintf("gap-%d", i) }

// state looks at the inode numbers.
func (c *commit) state(i int) (unitState, error) {
	u := c.j.Units[i]
	now, err := c.inode(c.d.root, u.Path)
	if err != nil {
		return unitPending, err
	}
	if u.Inode != 0 && now == u.Inode {
		return unitDone, nil
	}
	if u.Inode == 0 && now != u.Old {
		return unitDone, nil
	}
	stage, err := c.openStage()
	if err != nil || stage == nil {
		return unitPending, err
	}
	defer stage.close()
	gap, err := c.inode(stage, gapName(i))
	if err == nil && gap != 0 && now == 0 {
		return unitGap, nil
	}
	return unitPending, err
}

// inode gives the inode number at a path, 0 when nothing is there.
func (c *commit) inode(dir *dirFD, p string) (uint64, error) {
	st, err := dir.statPath(p)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// openStage opens the stage of the commit, nil when it is gone.
func (c *commit) openStage() (*dirFD, error) {
	stages, err := c.d.stateDir(stageName, false)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer stages.close()
	stage, err := stages.open(c.j.ID)
	if isMissing(err) {
		return nil, nil
	}
	return stage, err
}

// swap puts one unit in its place and makes sure that it is there: a rename
// that lies is found out. With strict, what was there must be what was looked
// at; a later run takes what it finds, and keeps it.
func (c *commit) swap(i int, strict bool) error {
	u := c.j.Units[i]
	stage, err := c.openStage()
	if err != nil {
		return err
	}
	if stage == nil {
		return withHint(fmt.Errorf("the stage of %q is gone", u.Path), damagedHint)
	}
	defer stage.close()
	from, staged, err := stage.parent(u.Staged)
	if err != nil {
		return err
	}
	defer from.close()
	to, name, err := c.d.root.parent(u.Path)
	if err != nil {
		return err
	}
	defer to.close()
	s := swapper{c: c, i: i, u: u, stage: stage, from: from, staged: staged, to: to, name: name}
	if err := s.run(strict); err != nil {
		return err
	}
	if state, err := c.state(i); err != nil || state != unitDone {
		return errors.Join(err, fmt.Errorf("the file system reported success, but %q was not replaced", u.Path))
	}
	for _, dir := range []*dirFD{to, from} {
		if err := c.d.ops.fsync(dir.fd, dir.path); err != nil {
			if u.Generation {
				return err // nothing visible depends on it yet
			}
			c.warn("%q is in place, but may not survive a power cut: %v", u.Path, err)
		}
	}
	return nil
}

// swapper is one unit with its directories open.
type swapper struct {
	c            *commit
	i            int
	u            unit
	stage        *dirFD
	from, to     *dirFD
	staged, name string
}

func (s *swapper) run(strict bool) error {
	ops := s.c.d.ops
	state, err := s.c.state(s.i)
	if err != nil {
		return err
	}
	switch state {
	case unitDone:
		return s.settleGap()
	case unitGap:
		if err := ops.renameNew(s.from, s.staged, s.to, s.name); err != nil {
			return err
		}
		return s.settleGap()
	}
	now, err := s.to.stat(s.name)
	if err != nil && !isMissing(err) {
		return err
	}
	found := uint64(0)
	if now != nil {
		found = now.Ino
	}
	if strict && found != s.u.Old {
		return fmt.Errorf("%q was changed by somebody else meanwhile", s.u.Path)
	}
	switch {
	case s.u.Inode == 0 && found == 0:
		return nil
	case s.u.Inode == 0:
		return ops.renameNew(s.to, s.name, s.from, s.staged)
	case found == 0:
		return ops.renameNew(s.from, s.staged, s.to, s.name)
	}
	if err := ops.exchange(s.from, s.staged, s.to, s.name); !unsupported(err) {
		return err
	}
	return s.withoutExchange(now)
}

// withoutExchange replaces a file or link by rename, and a directory only if
// the user allowed that its path is absent for a moment.
func (s *swapper) withoutExchange(now *unix.Stat_t) error {
	ops := s.c.d.ops
	staged, err := s.from.stat(s.staged)
	if err != nil {
		return err
	}
	if !isDir(staged) && !isDir(now) {
		return ops.rename(s.from, s.staged, s.to, s.name)
	}
	if !s.c.j.AllowGap {
		return withHint(fmt.Errorf("this file system cannot exchange the directory %q in one step", s.u.Path),
			"--allow-gap replaces it in two steps; it is absent for a moment")
	}
	if err := ops.renameNew(s.to, s.name, s.stage, gapName(s.i)); err != nil {
		return err
	}
	if err := ops.renameNew(s.from, s.staged, s.to, s.name); err != nil {
		// Back with the old one; if that fails too, the next run finishes.
		_ = ops.renameNew(s.stage, gapName(s.i), s.to, s.name)
		return err
	}
	return s.settleGap()
}

// settleGap moves what was taken out to where an exchange would have put it.
func (s *swapper) settleGap() error {
	if _, err := s.stage.stat(gapName(s.i)); err != nil {
		if isMissing(err) {
			return nil
		}
		return err
	}
	return s.c.d.ops.renameNew(s.stage, gapName(s.i), s.from, s.staged)
}

// anyLive tells whether anything of the live tree was exchanged, or is absent
// in the middle of that.
func (c *commit) anyLive() bool {
	for i, u := range c.j.Units {
		state, err := c.state(i)
		if err != nil || state == unitGap || state == unitDone && !u.Generation {
			return true // when in doubt, forward: nothing is lost that way
		}
	}
	return false
}

// recover finishes or undoes the commit that the journal describes.
func (d *Dir) recover() error {
	c, err := d.readJournal()
	if err != nil || c == nil {
		return err
	}
	d.pending = true
	if !c.anyLive() {
		d.opts.Log("an update of %q was cut off before it became visible; it is undone", c.j.Parts[0].Tree.Live)
		return c.undo()
	}
	d.opts.Log("an update of %q was cut off; it is finished now", c.j.Parts[0].Tree.Live)
	for i := range c.j.Units {
		if err := c.resume(i); err != nil {
			return err
		}
	}
	if c.finish(); d.pending {
		return fmt.Errorf("finish the update of %q: %v", c.j.Parts[0].Tree.Live, c.results[0].Warnings)
	}
	for _, w := range c.results[0].Warnings {
		d.opts.Log("%s", w)
	}
	return nil
}

// resume puts one unit in place that an earlier run may have put there.
func (c *commit) resume(i int) error {
	state, err := c.state(i)
	if err != nil {
		return err
	}
	if state != unitDone {
		return c.swap(i, false)
	}
	stage, err := c.openStage()
	if err != nil {
		return err
	}
	if stage != nil {
		defer stage.close()
		if gap, err := c.inode(stage, gapName(i)); err != nil || gap != 0 {
			return errors.Join(err, c.swap(i, false))
		}
	}
	// In place, and the stage perhaps half removed: only make it durable.
	up, _, err := c.d.root.parent(c.j.Units[i].Path)
	if err != nil {
		return err
	}
	defer up.close()
	return c.d.ops.fsync(up.fd, up.path)
}

// readJournal gives the commit in flight, nil when there is none.
func (d *Dir) readJournal() (*commit, error) {
	var j journal
	err := readRecord(d.state, journalName, &j, func() error { return j.check() })
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &commit{d: d, j: &j, results: make([]Result, len(j.Parts))}, nil
}
