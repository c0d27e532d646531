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

func findEntry(entries []spec.Entry, p string) (spec.Entry, bool) {
	i, found := slices.BinarySearchFunc(entries, p, func(e spec.Entry, p string) int {
		return strings.Compare(e.Path, p)
	})
	if !found {
		return spec.Entry{}, false
	}
	return entries[i], true
}

// absorber empties the old tree, entry by entry. It is the second look:
// nothing is removed that is not known to belong to an image or to be in the
// new tree as well, so a file that came late is found however late it came.
type absorber struct {
	c     *commit
	base  *dirFD // the new live tree; nil when it is a link and takes nothing
	old   map[string]bool
	seen  map[string]strangerSeen
	moved int
}

// absorbAll empties what the units have left in the stage.
func (c *commit) absorbAll() error {
	stage, err := c.openStage()
	if err != nil || stage == nil {
		return err
	}
	defer stage.close()
	a := &absorber{c: c, old: map[string]bool{}, seen: map[string]strangerSeen{}}
	for _, m := range c.j.Old {
		a.old[m.Path] = m.Dir
	}
	for _, s := range c.j.Strangers {
		a.seen[string(s.Path)] = s
	}
	if c.j.Tree.Mode == ModeDir {
		if a.base, err = c.d.root.open(c.j.Tree.Live); err != nil {
			return err
		}
		defer a.base.close()
	}
	for _, u := range c.j.Units {
		if u.Generation {
			continue // holds nothing of the site's
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
	if a.c.j.Tree.Live == FlatLive {
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
	return a.keepAside(up, name, ".")
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
	if e, ok := a.c.entry(p); ok {
		same, err := sameContent(e, old, name, st)
		if err != nil {
			return err
		}
		if same {
			return a.c.d.ops.unlink(old, name) // adopted
		}
		return a.keepAside(old, name, p)
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
	return a.keepAside(old, name, p)
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
		return a.keepAside(old, name, p) // the new tree has a file where its directory was
	}
	if err != nil {
		return err
	}
	defer up.close()
	err = a.c.d.ops.renameNew(old, name, up, base)
	if errors.Is(err, fs.ErrExist) {
		return a.keepAside(old, name, p)
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

// keepAside saves an entry that has no place in the new tree, and says so.
func (a *absorber) keepAside(old *dirFD, name, p string) error {
	dir, err := a.c.d.stateDir(keptName, true)
	if err != nil {
		return err
	}
	elements := append([]string{a.c.j.ID}, strings.Split(path.Dir(p), "/")...)
	if p == "." {
		p = path.Base(a.c.j.Tree.Live)
	}
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
	a.c.warn("the site's %q has no place in the new tree; it is kept as %q",
		path.Join(a.c.j.Tree.Live, p), dir.join(base))
	return a.c.d.ops.fsync(dir.fd, dir.path)
}
