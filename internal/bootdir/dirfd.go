//go:build linux

package bootdir

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// dirFD is an open directory and its path below the boot directory, for
// messages only. Names are resolved one element at a time without following
// symbolic links, so a planted link leads nowhere.
type dirFD struct {
	fd   int
	path string
}

func (d *dirFD) close() {
	if d != nil {
		_ = unix.Close(d.fd)
	}
}

// join gives the display path of a name in d.
func (d *dirFD) join(name string) string { return path.Join(d.path, name) }

// open opens the directory rel below d; rel may have several elements, or be
// "." for d itself.
func (d *dirFD) open(rel string) (*dirFD, error) {
	at := d.fd
	for element := range strings.SplitSeq(rel, "/") {
		var fd int
		err := retry(func() (err error) {
			fd, err = unix.Openat(at, element, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			return err
		})
		if at != d.fd {
			_ = unix.Close(at)
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: d.join(rel), Err: err}
		}
		at = fd
	}
	return &dirFD{at, d.join(rel)}, nil
}

// parent opens the directory that holds rel and gives the last element.
func (d *dirFD) parent(rel string) (*dirFD, string, error) {
	p, err := d.open(path.Dir(rel))
	return p, path.Base(rel), err
}

// stat looks at a single name, not through a link.
func (d *dirFD) stat(name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := retry(func() error { return unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: d.join(name), Err: err}
	}
	return &st, nil
}

// statPath is stat for a path of several elements.
func (d *dirFD) statPath(rel string) (*unix.Stat_t, error) {
	p, name, err := d.parent(rel)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return p.stat(name)
}

// self looks at the directory itself.
func (d *dirFD) self() (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(d.fd, &st) }); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: d.path, Err: err}
	}
	return &st, nil
}

// openFile opens a regular file for reading: no link is followed, and a pipe
// or device that has taken its place does not block.
func (d *dirFD) openFile(name string) (int, *unix.Stat_t, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, nil, &fs.PathError{Op: "open", Path: d.join(name), Err: err}
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && !isType(&st, unix.S_IFREG) {
		err = errors.New("not a regular file")
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, nil, &fs.PathError{Op: "open", Path: d.join(name), Err: err}
	}
	return fd, &st, nil
}

// readlink gives the target of a symbolic link.
func (d *dirFD) readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: d.join(name), Err: err}
	}
	return string(buf[:n]), nil
}

// names lists the directory, sorted, so that every run takes the same steps.
func (d *dirFD) names() ([]string, error) {
	again, err := d.open(".") // a second descriptor has its own read position
	if err != nil {
		return nil, err
	}
	defer again.close()
	var names []string
	buf := make([]byte, 32<<10)
	for {
		var n int
		err := retry(func() (err error) { n, err = unix.Getdents(again.fd, buf); return err })
		if err != nil {
			return nil, &fs.PathError{Op: "readdir", Path: d.path, Err: err}
		}
		if n <= 0 {
			slices.Sort(names)
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

func isType(st *unix.Stat_t, kind uint32) bool { return st.Mode&unix.S_IFMT == kind }

func isDir(st *unix.Stat_t) bool { return isType(st, unix.S_IFDIR) }

// perm gives the permission bits with setuid, setgid and sticky.
func perm(st *unix.Stat_t) uint32 { return st.Mode & 0o7777 }

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// sameInode tells whether two looks saw the same file of one file system.
func sameInode(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }
