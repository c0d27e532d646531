//go:build linux

package bootdir

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// fsOps is the one place where this package changes files. Every method is one
// system call on directory descriptors and single names, preceded by the test
// hook with the operation's name and the path below the boot directory: what
// the tests can interrupt is therefore everything there is.
type fsOps struct {
	hook func(op, path string) error
}

// errPretend makes an operation report success without being done: the tests
// play a lying file system with it.
var errPretend = errors.New("bootdir: pretend success")

// do runs one call after the hook, again when a signal interrupted it.
func (o *fsOps) do(op, path string, call func() error) error {
	if o.hook != nil {
		if err := o.hook(op, path); err != nil {
			if errors.Is(err, errPretend) {
				return nil
			}
			return &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
	if err := retry(call); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// retry repeats a call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// mkdir makes a directory that must not exist and gives it exactly this mode,
// whatever the umask.
func (o *fsOps) mkdir(d *dirFD, name string, mode uint32) error {
	err := o.do("mkdir", d.join(name), func() error { return unix.Mkdirat(d.fd, name, 0o700) })
	if err != nil || mode == 0o700 {
		return err
	}
	made, err := d.open(name)
	if err != nil {
		return err
	}
	defer made.close()
	return o.chmod(made.fd, made.path, mode)
}

// create makes a regular file that must not exist, readable by its owner only.
func (o *fsOps) create(d *dirFD, name string) (fd int, err error) {
	err = o.do("create", d.join(name), func() error {
		fd, err = unix.Openat(d.fd, name,
			unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	return fd, err
}

// write writes all of p.
func (o *fsOps) write(fd int, path string, p []byte) (int, error) {
	done := 0
	for done < len(p) {
		err := o.do("write", path, func() error {
			n, err := unix.Write(fd, p[done:])
			if n > 0 {
				done += n
			}
			return err
		})
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// allocate has the file system set aside length bytes from an offset on; the file
// grows to their end, with zeros.
func (o *fsOps) allocate(fd int, path string, from, length int64) error {
	return o.do("fallocate", path, func() error { return unix.Fallocate(fd, 0, from, length) })
}

func (o *fsOps) truncate(fd int, path string, size int64) error {
	return o.do("truncate", path, func() error { return unix.Ftruncate(fd, size) })
}

func (o *fsOps) fsync(fd int, path string) error {
	return o.do("fsync", path, func() error { return unix.Fsync(fd) })
}

func (o *fsOps) chmod(fd int, path string, mode uint32) error {
	return o.do("chmod", path, func() error { return unix.Fchmod(fd, mode) })
}

// chown changes the owner of an entry; a symlink is changed itself.
func (o *fsOps) chown(d *dirFD, name string, uid, gid uint32) error {
	return o.do("chown", d.join(name), func() error {
		return unix.Fchownat(d.fd, name, int(uid), int(gid), unix.AT_SYMLINK_NOFOLLOW)
	})
}

// setMtime sets the modification time of an entry and leaves its access time.
func (o *fsOps) setMtime(d *dirFD, name string, mtime unix.Timespec) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
	return o.do("utimens", d.join(name), func() error {
		return unix.UtimesNanoAt(d.fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}

func (o *fsOps) setxattr(fd int, path, attr string, value []byte) error {
	return o.do("setxattr", path, func() error { return unix.Fsetxattr(fd, attr, value, 0) })
}

func (o *fsOps) removexattr(fd int, path, attr string) error {
	return o.do("removexattr", path, func() error { return unix.Fremovexattr(fd, attr) })
}

// link makes a hard link; a symlink is linked itself.
func (o *fsOps) link(from *dirFD, old string, to *dirFD, name string) error {
	return o.do("link", to.join(name), func() error {
		return unix.Linkat(from.fd, old, to.fd, name, 0)
	})
}

func (o *fsOps) symlink(target string, d *dirFD, name string) error {
	return o.do("symlink", d.join(name), func() error { return unix.Symlinkat(target, d.fd, name) })
}

// mkfifo makes a named pipe with this mode, which the umask may narrow.
func (o *fsOps) mkfifo(d *dirFD, name string, mode uint32) error {
	return o.do("mkfifo", d.join(name), func() error {
		return unix.Mknodat(d.fd, name, unix.S_IFIFO|mode, 0)
	})
}

// rename moves an entry, over whatever has the name.
func (o *fsOps) rename(from *dirFD, old string, to *dirFD, name string) error {
	return o.do("rename", to.join(name), func() error {
		return unix.Renameat(from.fd, old, to.fd, name)
	})
}

// renameNew moves an entry to a name that must be free. Where the file system
// cannot promise that in one step, it looks first: the lock keeps other runs
// away, and a directory is never renamed over a full one.
func (o *fsOps) renameNew(from *dirFD, old string, to *dirFD, name string) error {
	err := o.do("rename-new", to.join(name), func() error {
		return unix.Renameat2(from.fd, old, to.fd, name, unix.RENAME_NOREPLACE)
	})
	if !unsupported(err) {
		return err
	}
	if _, err := to.stat(name); err == nil {
		return &fs.PathError{Op: "rename-new", Path: to.join(name), Err: unix.EEXIST}
	}
	return o.rename(from, old, to, name)
}

// exchange swaps two entries in one step.
func (o *fsOps) exchange(from *dirFD, old string, to *dirFD, name string) error {
	return o.do("exchange", to.join(name), func() error {
		return unix.Renameat2(from.fd, old, to.fd, name, unix.RENAME_EXCHANGE)
	})
}

// unsupported tells whether a file system or kernel lacks a flag of renameat2.
func unsupported(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP)
}

func (o *fsOps) unlink(d *dirFD, name string) error {
	return o.do("unlink", d.join(name), func() error { return unix.Unlinkat(d.fd, name, 0) })
}

func (o *fsOps) rmdir(d *dirFD, name string) error {
	return o.do("rmdir", d.join(name), func() error {
		return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
	})
}
