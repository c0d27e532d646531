//go:build linux

package bootdir

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// dressDir gives a new directory owner, extended attributes (ACL and security
// label among them) and mode of the one that it replaces, or 0755 when there
// is none. The mode comes last: changing the owner clears bits of it.
func (d *Dir) dressDir(old, dir *dirFD) error {
	if old == nil {
		return d.ops.chmod(dir.fd, dir.path, dirMode)
	}
	st, err := old.self()
	if err != nil {
		return err
	}
	return d.dress(old.fd, old.path, st, dir.fd, dir.path)
}

// dress copies owner, extended attributes and mode from one descriptor to
// another, and refuses if one of them cannot be kept.
func (d *Dir) dress(from int, fromShown string, st *unix.Stat_t, to int, shown string) error {
	var now unix.Stat_t
	if err := unix.Fstat(to, &now); err != nil {
		return err
	}
	if now.Uid != st.Uid || now.Gid != st.Gid {
		err := d.ops.do("chown", shown, func() error { return unix.Fchown(to, int(st.Uid), int(st.Gid)) })
		if err != nil {
			return cannotCarry(fromShown, fmt.Errorf("its owner cannot be kept: %w", err))
		}
	}
	if err := d.copyAttrs(from, fromShown, to, shown); err != nil {
		return err
	}
	return d.ops.chmod(to, shown, perm(st))
}

// copyAttrs copies every extended attribute that is not there already with
// the same value.
func (d *Dir) copyAttrs(from int, fromShown string, to int, shown string) error {
	names, err := listAttrs(from)
	if err != nil {
		return cannotCarry(fromShown, fmt.Errorf("its extended attributes cannot be read: %w", err))
	}
	for _, name := range names {
		value, err := getAttr(from, name)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return cannotCarry(fromShown, fmt.Errorf("its attribute %q cannot be read: %w", name, err))
		}
		if have, err := getAttr(to, name); err == nil && bytes.Equal(have, value) {
			continue
		}
		if err := d.ops.setxattr(to, shown, name, value); err != nil {
			return cannotCarry(fromShown, fmt.Errorf("its attribute %q cannot be kept: %w", name, err))
		}
	}
	return nil
}

// listAttrs lists extended attributes; a file system without them has none.
func listAttrs(fd int) ([]string, error) {
	for {
		n, err := unix.Flistxattr(fd, nil)
		if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		buf := make([]byte, n)
		n, err = unix.Flistxattr(fd, buf)
		if errors.Is(err, unix.ERANGE) {
			continue // grew meanwhile
		}
		if err != nil {
			return nil, err
		}
		return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
	}
}

func getAttr(fd int, name string) ([]byte, error) {
	for {
		n, err := unix.Fgetxattr(fd, name, nil)
		if err != nil {
			return nil, err
		}
		buf := make([]byte, n)
		if n == 0 {
			return buf, nil
		}
		n, err = unix.Fgetxattr(fd, name, buf)
		if !errors.Is(err, unix.ERANGE) {
			return buf[:max(n, 0)], err
		}
	}
}

// carryFile takes one stranger that is no directory into the stage, by hard
// link, else by a copy that keeps everything.
func (d *Dir) carryFile(rel string, old, live *dirFD, name string, st *unix.Stat_t) (strangerSeen, error) {
	seen := strangerSeen{Path: []byte(rel), Inode: st.Ino}
	err := d.ops.link(old, name, live, name)
	if err == nil {
		// The inode that got linked counts, not the one that was looked at.
		now, err := live.stat(name)
		if err == nil {
			seen.Inode = now.Ino
		}
		return seen, err
	}
	if !cannotLink(err) {
		return seen, err
	}
	if err := d.copyStranger(old, live, name, st); err != nil {
		return seen, err
	}
	now, err := live.stat(name)
	if err == nil {
		seen.Ctime, seen.Copy, seen.Copied = st.Ctim.Nano(), now.Ino, now.Ctim.Nano()
	}
	return seen, err
}

func (d *Dir) copyStranger(old, live *dirFD, name string, st *unix.Stat_t) error {
	shown := old.join(name)
	if fixed, err := isFixed(old, name); err != nil || fixed {
		// A copy would lose the flag, and the old file could not be removed.
		return cannotCarry(shown, errors.Join(err, errors.New("it is marked immutable or append-only")))
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return d.copyRegular(old, live, name)
	case unix.S_IFLNK:
		target, err := old.readlink(name)
		if err != nil {
			return err
		}
		if err := d.ops.symlink(target, live, name); err != nil {
			return err
		}
	case unix.S_IFIFO:
		if err := d.ops.mkfifo(live, name, 0o600); err != nil {
			return err
		}
	default:
		return cannotCarry(shown, errNoCarry)
	}
	if err := d.ops.chown(live, name, st.Uid, st.Gid); err != nil {
		return cannotCarry(shown, fmt.Errorf("its owner cannot be kept: %w", err))
	}
	if isType(st, unix.S_IFIFO) {
		err := d.ops.do("chmod", live.join(name), func() error { return unix.Fchmodat(live.fd, name, perm(st), 0) })
		if err != nil {
			return err
		}
	}
	return d.ops.setMtime(live, name, st.Mtim)
}

// isFixed tells whether a file may not be changed or removed by flag.
func isFixed(dir *dirFD, name string) (bool, error) {
	var stx unix.Statx_t
	err := retry(func() error {
		return unix.Statx(dir.fd, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &stx)
	})
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return false, nil
	}
	return stx.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0, err
}

func (d *Dir) copyRegular(old, live *dirFD, name string) error {
	fd, st, err := old.openFile(name)
	if err != nil {
		return cannotCarry(old.join(name), err)
	}
	defer unix.Close(fd)
	want, err := hashFD(fd, old.join(name))
	if err != nil {
		return err
	}
	out, err := d.ops.create(live, name)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	shown := live.join(name)
	if err := d.copyBytes(out, shown, fd, old.join(name)); err != nil {
		return err
	}
	if err := d.dress(fd, old.join(name), st, out, shown); err != nil {
		return err
	}
	if err := d.ops.setMtime(live, name, st.Mtim); err != nil {
		return err
	}
	if err := d.ops.fsync(out, shown); err != nil {
		return err
	}
	return verifyBack(live, name, out, want)
}

// copyBytes copies a file from its beginning.
func (d *Dir) copyBytes(to int, shown string, from int, fromShown string) error {
	if _, err := unix.Seek(from, 0, 0); err != nil {
		return fmt.Errorf("rewind %q: %w", fromShown, err)
	}
	buf := make([]byte, 64<<10)
	r := &fdReader{from, fromShown}
	for {
		n, err := r.Read(buf)
		if n == 0 {
			return ignoreEOF(err)
		}
		if _, err := d.ops.write(to, shown, buf[:n]); err != nil {
			return err
		}
	}
}
