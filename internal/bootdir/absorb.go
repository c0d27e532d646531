//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// statT is what a look at an entry gives.
type statT = unix.Stat_t

// absorber empties the old tree, entry by entry. It is the second look:
// nothing is removed that is not known to belong to an image or to be in the
// new tree as well, so a file that came late is found however late it came.
type absorber struct {
	c    *commit
	w    *part
	base *dirFD // the new live tree; nil when it is a link and takes nothing
	old  map[string]bool
	seen map[string]strangerSeen
}

// absorbAll empties what the units have left in the stage.
func (c *commit) absorbAll() error {
	stage, err := c.openStage()
	if err != nil || stage == nil {
		return err
	}
	defer stage.close()
	for i := range c.j.Parts {
		if err := c.absorbPart(stage, i); err != nil {
			return err
		}
	}
	return nil
}

// absorbPart does that for one tree.
func (c *commit) absorbPart(stage *dirFD, i int) (err error) {
	w := &c.j.Parts[i]
	a := &absorber{c: c, w: w, old: map[string]bool{}, seen: map[string]strangerSeen{}}
	for _, m := range w.Old {
		a.old[m.Path] = m.Dir
	}
	for _, s := range w.Strangers {
		a.seen[string(s.Path)] = s
	}
	if w.Tree.Mode == ModeDir {
		if a.base, err = c.d.root.open(w.Tree.Live); err != nil {
			return err
		}
		defer a.base.close()
	}
	for _, u := range c.j.Units {
		if u.Generation || u.Part != i {
			continue // a generation holds nothing of the site's
		}
		if err := a.absorbUnit(stage, u); err != nil {
			return err
		}
	}
	return nil
}

func (a *absorber) absorbUnit(stage *dirFD, u unit) error {
	up, name, err := stage.parent(u.Staged)
	if err != nil {
		if isMissing(err) {
			return nil
		}
		return err
	}
	defer up.close()
	st, err := up.stat(name)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Ino == u.Inode {
		return fmt.Errorf("%q is still in the stage", u.Path)
	}
	if u.beside() {
		return a.besideEntry(up, name, u.Path, st)
	}
	if a.w.Tree.Live == FlatLive {
		return a.entry(up, name, u.Path)
	}
	if isDir(st) {
		dir, err := up.open(name)
		if err != nil {
			return err
		}
		defer dir.close()
		if err := a.dir(dir, "."); err != nil {
			return err
		}
		return a.c.d.ops.rmdir(up, name)
	}
	if isType(st, unix.S_IFLNK) {
		if target, err := up.readlink(name); err == nil && target == linkTarget(u.Path, path.Base(target)) {
			return a.c.d.ops.unlink(up, name) // the live link of link mode
		}
	}
	return a.keepAside(up, name, a.w.Tree.Live)
}

// besideEntry deals with what stood where something is beside the tree now.
func (a *absorber) besideEntry(old *dirFD, name, p string, st *statT) error {
	if slices.Contains(a.w.OldBeside, p) && !isDir(st) {
		return a.c.d.ops.unlink(old, name)
	}
	for _, e := range a.w.Tree.Beside() {
		if e.Path != p {
			continue
		}
		if same, err := sameContent(e, old, name, st); err != nil {
			return err
		} else if same {
			return a.c.d.ops.unlink(old, name) // adopted
		}
	}
	return a.keepAside(old, name, p)
}

// entryAt finds what the new tree has at a path.
func (a *absorber) entryAt(p string) (spec.Entry, bool) {
	return findEntry(a.w.Tree.Shown(a.c.j.Image), p)
}

// dir empties one directory of the old tree.
func (a *absorber) dir(old *dirFD, rel string) error {
	names, err := old.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := a.entry(old, name, path.Join(rel, name)); err != nil {
			return err
		}
	}
	return nil
}

// entry deals with one entry of the old tree.
func (a *absorber) entry(old *dirFD, name, p string) error {
	st, err := old.stat(name)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if isDir(st) {
		return a.subdir(old, name, p, st)
	}
	if wasDir, managed := a.old[p]; managed && !wasDir {
		return a.c.d.ops.unlink(old, name)
	}
	if e, ok := a.entryAt(p); ok {
		same, err := sameContent(e, old, name, st)
		if err != nil {
			return err
		}
		if same {
			return a.c.d.ops.unlink(old, name) // adopted
		}
		return a.keepAside(old, name, a.below(p))
	}
	return a.stranger(old, name, p, st)
}

func (a *absorber) subdir(old *dirFD, name, p string, st *statT) error {
	_, managed := a.old[p]
	_, seen := a.seen[p]
	now, err := a.look(p)
	if err != nil {
		return err
	}
	if now == nil && !managed && !seen && a.base != nil {
		return a.move(old, name, p) // came late, as a whole
	}
	dir, err := a.c.d.enter(old, name, st)
	if err != nil {
		return err
	}
	defer dir.close()
	if mount, err := isMountPoint(dir, a.deviceOf(old)); err != nil || mount {
		return errors.Join(err, fmt.Errorf("%q has become a mount point; unmount it", p))
	}
	if err := a.dir(dir, p); err != nil {
		return err
	}
	return a.c.d.ops.rmdir(old, name)
}

func (a *absorber) deviceOf(d *dirFD) uint64 {
	st, err := d.self()
	if err != nil {
		return 0
	}
	return st.Dev
}

// look gives what the new tree has at a path, nil for nothing.
func (a *absorber) look(p string) (*statT, error) {
	if a.base == nil {
		return nil, nil
	}
	st, err := a.base.statPath(p)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	return st, err
}

// stranger decides about one file of the site. Usually the new tree has the
// same inode, or an untouched copy of it. Otherwise somebody wrote between the
// first look and the exchange, or into the new tree since: the newer one
// stays visible and no version is thrown away.
func (a *absorber) stranger(old *dirFD, name, p string, st *statT) error {
	now, err := a.look(p)
	if err != nil {
		return err
	}
	if now != nil && sameInode(now, st) {
		return a.c.d.ops.unlink(old, name)
	}
	seen, known := a.seen[p]
	unchanged := known && seen.Inode == st.Ino && (seen.Copy == 0 || seen.Ctime == st.Ctim.Nano())
	switch {
	case unchanged:
		// The new tree got it; what differs there now, or is gone, is what
		// the site did to it since.
		return a.c.d.ops.unlink(old, name)
	case now == nil && a.base != nil:
		return a.move(old, name, p)
	case known && now != nil && seen.isOurs(now):
		return a.replace(old, name, p)
	}
	return a.keepAside(old, name, a.below(p))
}

// isOurs tells whether the new tree still has what the stage put there.
func (s strangerSeen) isOurs(now *statT) bool {
	if s.Copy == 0 {
		return now.Ino == s.Inode
	}
	return now.Ino == s.Copy && now.Ctim.Nano() == s.Copied
}

// move carries an entry over to a free name of the new tree.
func (a *absorber) move(old *dirFD, name, p string) error {
	up, base, err := a.parent(p)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return a.keepAside(old, name, a.below(p)) // the new tree has a file where its directory was
	}
	if err != nil {
		return err
	}
	defer up.close()
	err = a.c.d.ops.renameNew(old, name, up, base)
	if errors.Is(err, fs.ErrExist) {
		return a.keepAside(old, name, a.below(p))
	}
	if err != nil {
		return err
	}
	return a.c.d.ops.fsync(up.fd, up.path)
}

func (a *absorber) replace(old *dirFD, name, p string) error {
	up, base, err := a.parent(p)
	if err != nil {
		return err
	}
	defer up.close()
	if err := a.c.d.ops.rename(old, name, up, base); err != nil {
		return err
	}
	return a.c.d.ops.fsync(up.fd, up.path)
}

// parent opens the directory of p in the new tree, and makes it when the image
// no longer has it.
func (a *absorber) parent(p string) (*dirFD, string, error) {
	elements := strings.Split(path.Dir(p), "/")
	for i := range elements {
		rel := path.Join(elements[:i+1]...)
		if rel == "." {
			break
		}
		if now, err := a.look(rel); err != nil {
			return nil, "", err
		} else if now != nil {
			continue
		}
		up, name, err := a.base.parent(rel)
		if err != nil {
			return nil, "", err
		}
		err = a.c.d.ops.mkdir(up, name, dirMode)
		if err == nil {
			err = a.c.d.ops.fsync(up.fd, up.path)
		}
		up.close()
		if err != nil {
			return nil, "", err
		}
	}
	return a.base.parent(p)
}

// below gives the path below the boot directory of one below the live path.
func (a *absorber) below(p string) string { return path.Join(a.w.Tree.Live, p) }

// keepAside saves an entry that has no place any more at a path below the boot
// directory, and says so.
func (a *absorber) keepAside(old *dirFD, name, p string) error {
	dir, err := a.c.d.stateDir(keptName, true)
	if err != nil {
		return err
	}
	elements := append([]string{a.c.j.ID}, strings.Split(path.Dir(p), "/")...)
	for _, e := range elements {
		if e == "." {
			continue
		}
		if err := a.c.d.ops.mkdir(dir, e, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			dir.close()
			return err
		}
		_ = a.c.d.ops.fsync(dir.fd, dir.path)
		next, err := dir.open(e)
		dir.close()
		if err != nil {
			return err
		}
		dir = next
	}
	defer dir.close()
	base := path.Base(p)
	if err := a.c.d.ops.renameNew(old, name, dir, base); err != nil {
		return err
	}
	a.c.warn("the site's %q has no place in the new tree; it is kept as %q", p, dir.join(base))
	return a.c.d.ops.fsync(dir.fd, dir.path)
}
