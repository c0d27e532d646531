//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// builder makes the directory that is swapped in: the new generation's files
// by hard link, and every stranger of the directory that it replaces. It
// changes nothing outside the stage.
type builder struct {
	ctx       context.Context
	d         *Dir
	s         *Stage
	dev       uint64
	children  map[string][]spec.Entry // new entries by parent directory
	old       map[string]bool         // managed paths before; true for directories
	oldTops   map[string]bool         // flat: names at the top that may be looked at
	skip      map[string]bool         // flat: names at the top that stay as they are
	strangers []strangerSeen
	states    map[string]FileState     // files that could not be linked to the generation's
	later     map[string]unix.Timespec // files that must not be, and the time of their copies
}

func childrenOf(entries []spec.Entry) map[string][]spec.Entry {
	children := map[string][]spec.Entry{}
	for _, e := range entries {
		dir := path.Dir(e.Path)
		children[dir] = append(children[dir], e)
	}
	return children
}

// fill makes the content of one directory. old is nil when nothing was there.
func (b *builder) fill(rel string, old, live *dirFD) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	names, err := b.oldNames(rel, old)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, e := range b.children[rel] {
		name := path.Base(e.Path)
		wanted[name] = true
		if rel == "." && b.skip[name] {
			continue
		}
		if err := b.fillEntry(e, old, live, slices.Contains(names, name)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if !wanted[name] {
			if err := b.carry(path.Join(rel, name), old, live, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) oldNames(rel string, old *dirFD) ([]string, error) {
	if old == nil {
		return nil, nil
	}
	if b.oldTops != nil && rel == "." {
		var names []string
		for name := range b.oldTops {
			if _, err := old.stat(name); err == nil && !b.skip[name] {
				names = append(names, name)
			} else if err != nil && !isMissing(err) {
				return nil, err
			}
		}
		slices.Sort(names)
		return names, nil
	}
	mount, err := isMountPoint(old, b.dev)
	if err != nil {
		return nil, err
	}
	if mount {
		return nil, liveRefusal(old.path, "unmount it, or mount it outside the boot tree", "is a mount point inside a boot tree")
	}
	return old.names()
}

// fillEntry makes one entry of the image.
func (b *builder) fillEntry(e spec.Entry, old, live *dirFD, present bool) error {
	name := path.Base(e.Path)
	var st *unix.Stat_t
	if present {
		var err error
		if st, err = old.stat(name); err != nil {
			return err
		}
		if err := b.clash(e, old, name, st); err != nil {
			return err
		}
	}
	switch e.Type {
	case spec.TypeDir:
		var under *dirFD
		if st != nil && isDir(st) {
			var err error
			if under, err = old.open(name); err != nil {
				return err
			}
			defer under.close()
		}
		return b.fillManaged(e.Path, under, live, name)
	case spec.TypeSymlink:
		return b.s.symlink(e.Target, live, name)
	}
	return b.linkManaged(e, live, name)
}

// fillManaged is fillDir for a directory of the tree, which gets its attributes.
func (b *builder) fillManaged(rel string, old, live *dirFD, name string) error {
	if err := b.fillDir(rel, old, live, name); err != nil {
		return err
	}
	return b.s.dressDirAt(live, name)
}

// fillDir makes a directory and what is in it; it looks like the one it
// replaces.
func (b *builder) fillDir(rel string, old, live *dirFD, name string) error {
	if err := b.d.ops.mkdir(live, name, 0o700); err != nil {
		return err
	}
	dir, err := live.open(name)
	if err != nil {
		return err
	}
	defer dir.close()
	if err := b.fill(rel, old, dir); err != nil {
		return err
	}
	if err := b.d.dressDir(old, dir); err != nil {
		return err
	}
	return b.d.ops.fsync(dir.fd, dir.path)
}

// clash decides about what has the name of an image's entry: a managed thing
// is replaced, an equal file or link is adopted, directories are joined, and
// everything else is the site's and stays.
func (b *builder) clash(e spec.Entry, old *dirFD, name string, st *unix.Stat_t) error {
	_, managed := b.old[e.Path]
	switch {
	case isDir(st) && e.Type == spec.TypeDir:
		return nil
	case isDir(st):
		dir, err := old.open(name)
		if err != nil {
			return err
		}
		defer dir.close()
		if wasDir := b.old[e.Path]; wasDir {
			if has, err := b.hasStrangers(e.Path, dir); err != nil || !has {
				return err
			}
		}
	case managed:
		return nil
	default:
		if same, err := sameContent(e, old, name, st); err != nil || same {
			return err
		}
	}
	return siteRefusal(e.Path)
}

// sameContent tells whether an unmanaged file or link equals an entry.
func sameContent(e spec.Entry, dir *dirFD, name string, st *unix.Stat_t) (bool, error) {
	switch {
	case e.Type == spec.TypeSymlink && isType(st, unix.S_IFLNK):
		target, err := dir.readlink(name)
		return target == e.Target, err
	case e.Type == spec.TypeFile && isType(st, unix.S_IFREG) && st.Size == e.Size:
		fd, _, err := dir.openFile(name)
		if err != nil {
			return false, err
		}
		defer unix.Close(fd)
		got, err := hashFD(fd, dir.join(name))
		return got == e.SHA256, err
	}
	return false, nil
}

// linkManaged links a file of the generation into the live tree, or copies it
// where the file system makes no (more) links.
func (b *builder) linkManaged(e spec.Entry, live *dirFD, name string) error {
	from, base, err := b.s.gen.parent(SourceOf(e))
	if err != nil {
		return err
	}
	defer from.close()
	mtime, copied := b.later[e.Path]
	if !copied {
		err = b.d.ops.link(from, base, live, name)
		if err == nil || !cannotLink(err) {
			return err
		}
	}
	fd, st, err := from.openFile(base)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	out, err := b.d.ops.create(live, name)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	if err := b.d.copyBytes(out, live.join(name), fd, from.join(base)); err != nil {
		return err
	}
	if !copied {
		mtime = st.Mtim
	}
	if err := b.d.ops.setMtime(live, name, mtime); err != nil {
		return err
	}
	if err := b.d.ops.chmod(out, live.join(name), fileMode); err != nil {
		return err
	}
	if err := b.s.dressFile(live, name); err != nil {
		return err
	}
	if err := b.d.ops.fsync(out, live.join(name)); err != nil {
		return err
	}
	if err := verifyBack(live, name, out, e.SHA256); err != nil {
		return err
	}
	if st, err = live.stat(name); err == nil {
		b.states[e.Path] = stateOf(e.Path, st)
	}
	return err
}

// carry takes over what the image does not have: strangers stay, managed
// things go away.
func (b *builder) carry(rel string, old, live *dirFD, name string) error {
	st, err := old.stat(name)
	if err != nil {
		if isMissing(err) {
			return nil // went away since the directory was listed
		}
		return err
	}
	wasDir, managed := b.old[rel]
	if !isDir(st) {
		if managed {
			return nil
		}
		seen, err := b.d.carryFile(rel, old, live, name, st)
		if err == nil {
			b.strangers = append(b.strangers, seen)
		}
		return err
	}
	dir, err := old.open(name)
	if err != nil {
		return err
	}
	defer dir.close()
	if managed && wasDir {
		if has, err := b.hasStrangers(rel, dir); err != nil || !has {
			return err
		}
	} else {
		b.strangers = append(b.strangers, strangerSeen{Path: []byte(rel), Inode: st.Ino})
	}
	if err := b.fillDir(rel, dir, live, name); err != nil {
		return err
	}
	return b.d.ops.setMtime(live, name, st.Mtim)
}

// hasStrangers tells whether a directory that goes away holds anything of the
// site's.
func (b *builder) hasStrangers(rel string, dir *dirFD) (bool, error) {
	names, err := dir.names()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		p := path.Join(rel, name)
		wasDir, managed := b.old[p]
		if !managed {
			return true, nil
		}
		st, err := dir.stat(name)
		if err != nil && !isMissing(err) {
			return false, err
		}
		if err != nil || !isDir(st) {
			continue
		}
		if !wasDir {
			return true, nil
		}
		sub, err := dir.open(name)
		if err != nil {
			return false, err
		}
		has, err := b.hasStrangers(p, sub)
		sub.close()
		if has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// stateOf gives what the record keeps about a managed file.
func stateOf(p string, st *unix.Stat_t) FileState {
	return FileState{Path: p, Inode: st.Ino, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}
}

// errNoCarry is wrapped when a stranger can be neither linked nor copied.
var errNoCarry = errors.New("it can be neither linked nor copied faithfully")

func cannotCarry(shown string, err error) error {
	return withHint(fmt.Errorf("keep the site's %q: %w", shown, err),
		"nothing was changed; run nbextract as a user who may link or copy it, or move it away")
}
