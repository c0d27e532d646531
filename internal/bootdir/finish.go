//go:build linux

package bootdir

import (
	"context"
	"path"
)

// finish does what is left once the new tree is visible: the old one is
// emptied, the records follow, the journal goes. What fails is a warning; then
// the journal stays, and the next run takes it up from here.
func (c *commit) finish() {
	if err := c.finishSteps(); err != nil {
		c.warn("the new tree is in place, the next run finishes the rest: %v", err)
		return
	}
	if _, err := c.d.Prune(context.Background(), c.d.opts.Keep, c.d.opts.Grace); err != nil {
		c.warn("cannot remove old generations: %v", err)
	}
}

func (c *commit) finishSteps() error {
	if err := c.absorbAll(); err != nil {
		return err
	}
	if err := c.d.removeStage(c.j.ID); err != nil {
		c.warn("cannot remove the stage, the next run does: %v", err)
	}
	if err := c.dropEmptyParents(); err != nil {
		return err
	}
	for _, w := range c.j.Parts {
		if err := c.d.dropPartials(c.j.Image, w.Tree.Live); err != nil {
			return err
		}
		if err := c.refreshStates(w.Tree); err != nil {
			return err
		}
	}
	if err := c.d.writeImage(c.j.Image); err != nil {
		return err
	}
	for _, w := range c.j.Parts {
		if err := c.d.writeTree(w.Tree); err != nil {
			return err
		}
	}
	c.d.contents = nil
	return c.dropJournal()
}

// refreshStates notes the change time that files have after the links of stage
// and old tree are gone. Size, time and inode must still be what was proved:
// otherwise the old state is recorded, which the next look finds wrong.
func (c *commit) refreshStates(t *Tree) error {
	base, err := c.d.openManaged(t.Live)
	if err != nil || base == nil {
		return err
	}
	defer base.close()
	refreshStates(base, t)
	return nil
}

// refreshStates updates change times; see above.
func refreshStates(base *dirFD, t *Tree) (changed bool) {
	cursor := newCursor(base)
	defer cursor.close()
	for i, f := range t.Files {
		st, err := cursor.stat(f.Path)
		if err != nil {
			continue
		}
		if now := stateOf(f.Path, st); now != f && now.sameBut(f) {
			t.Files[i], changed = now, true
		}
	}
	return changed
}

// sameBut compares everything but the change time.
func (f FileState) sameBut(g FileState) bool {
	f.Ctime = g.Ctime
	return f == g
}

// cursor looks at paths below a directory, mostly in order, and keeps the
// directory of the last one open: one system call for each file then.
type cursor struct {
	base *dirFD
	rel  string
	dir  *dirFD
}

func newCursor(base *dirFD) *cursor { return &cursor{base: base} }

func (c *cursor) close() { c.dir.close(); c.dir = nil }

// at opens the directory of p.
func (c *cursor) at(p string) (*dirFD, string, error) {
	rel := path.Dir(p)
	if c.dir == nil || c.rel != rel {
		dir, err := c.base.open(rel)
		if err != nil {
			return nil, "", err
		}
		c.dir.close()
		c.dir, c.rel = dir, rel
	}
	return c.dir, path.Base(p), nil
}

func (c *cursor) stat(p string) (*statT, error) {
	dir, name, err := c.at(p)
	if err != nil {
		return nil, err
	}
	return dir.stat(name)
}

// dropEmptyParents removes the shared directories from which the last went away.
func (c *commit) dropEmptyParents() error {
	for _, u := range c.j.Units {
		if u.Inode == 0 && u.beside() {
			if err := c.d.dropParents(u.Path); err != nil {
				return err
			}
		}
	}
	return nil
}
