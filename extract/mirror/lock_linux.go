package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// lock keeps other runs out until the file is closed, or the process ends.
func (t *tree) lock() (*os.File, error) {
	f, err := t.root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock mirror %q: %w", t.dir, err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		err = &LockedError{t.dir}
	default:
		err = fmt.Errorf("lock mirror %q: %w", t.dir, err)
	}
	return nil, errors.Join(err, f.Close())
}

// exchange swaps two directories in one step; false if the file system cannot.
func (t *tree) exchange(a, b string) (bool, error) {
	err := unix.Renameat2(unix.AT_FDCWD, t.abs(a), unix.AT_FDCWD, t.abs(b), unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	return err == nil, err
}

// links counts the names of a file.
func links(st fs.FileInfo) uint64 {
	s, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 1
	}
	return uint64(s.Nlink) // its type is another one on other machines
}
