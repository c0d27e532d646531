package serve

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// root is the directory that is served. Names are opened one element at a time
// relative to the open directory above, and no link is followed on the way, so
// nothing outside can be reached, not even while somebody changes the tree.
type root struct{ fd int }

func openRoot(dir string) (*root, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &root{fd}, nil
}

func (r *root) close() { _ = unix.Close(r.fd) }

// entry is what stands at a path: a directory, a regular file or a link.
type entry struct {
	path   string // below the root, without links on the way
	kind   uint32 // S_IFDIR, S_IFREG, S_IFLNK; anything else is not served
	target string // of a link
	size   int64
	dev    uint64
	ino    uint64
}

// same tells whether two entries are one file by two names, or equal links.
func (e *entry) same(o *entry) bool {
	if e.kind != o.kind {
		return false
	}
	if e.kind == unix.S_IFLNK {
		return e.target == o.target
	}
	return e.dev == o.dev && e.ino == o.ino
}

// parent opens the directory that holds rel. The caller closes it with done.
func (r *root) parent(rel string) (fd int, done func(), err error) {
	at, done := r.fd, func() {}
	dir := path.Dir(rel)
	if dir == "." {
		return at, done, nil
	}
	for element := range strings.SplitSeq(dir, "/") {
		next, err := openat(at, element, unix.O_DIRECTORY)
		done()
		if err != nil {
			return -1, nil, &fs.PathError{Op: "open", Path: rel, Err: err}
		}
		at, done = next, func() { _ = unix.Close(next) }
	}
	return at, done, nil
}

// look tells what stands at rel, "." being the root itself. The error is
// fs.ErrNotExist also where an element on the way is no directory.
func (r *root) look(rel string) (*entry, error) {
	at, done, err := r.parent(rel)
	if err != nil {
		return nil, absent(err)
	}
	defer done()
	var st unix.Stat_t
	name := path.Base(rel)
	if err := retry(func() error { return unix.Fstatat(at, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return nil, absent(&fs.PathError{Op: "stat", Path: rel, Err: err})
	}
	e := &entry{path: rel, kind: uint32(st.Mode) & unix.S_IFMT, size: st.Size, dev: uint64(st.Dev), ino: st.Ino}
	if e.kind == unix.S_IFLNK {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(at, name, buf)
		if err != nil {
			return nil, absent(&fs.PathError{Op: "readlink", Path: rel, Err: err})
		}
		e.target = string(buf[:n])
	}
	return e, nil
}

// open opens a regular file or a directory. A pipe or device that has taken its
// place does not block.
func (r *root) open(rel string) (*os.File, error) {
	at, done, err := r.parent(rel)
	if err != nil {
		return nil, absent(err)
	}
	defer done()
	fd, err := openat(at, path.Base(rel), unix.O_NONBLOCK)
	if err != nil {
		return nil, absent(&fs.PathError{Op: "open", Path: rel, Err: err})
	}
	f := os.NewFile(uintptr(fd), rel)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: rel, Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// names lists a directory.
func (r *root) names(rel string) ([]string, error) {
	f, err := r.open(rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func openat(at int, name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
		return err
	})
	return fd, err
}

// retry repeats a system call that a signal cut off.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// absent makes one error of the many ways in which a name can lead nowhere.
func absent(err error) error {
	for _, e := range []error{unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG, unix.EINVAL} {
		if errors.Is(err, e) {
			return &fs.PathError{Op: "open", Path: "", Err: fs.ErrNotExist}
		}
	}
	return err
}
