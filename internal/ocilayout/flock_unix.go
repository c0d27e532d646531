//go:build unix

package ocilayout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that somebody else holds is tried again. A
// flock that waits in the kernel cannot be interrupted by a context.
const lockPoll = 50 * time.Millisecond

// tryLock takes an exclusive flock on an open file or directory. False means
// that somebody else has it.
func tryLock(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, fmt.Errorf("lock %q: %w", f.Name(), err)
		}
	}
}

// lockDir takes the lock of a directory and waits for it. This is the lock
// under which an index.json is edited; closing the file gives it back, and so
// does the end of the process. It leaves no lock file behind.
func lockDir(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory to lock it: %w", err)
	}
	for {
		ok, err := tryLock(f)
		if ok {
			return f, nil
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for the lock of %q: %w", dir, ctx.Err()), f.Close())
		case <-time.After(lockPoll):
		}
	}
}

// ownedByUs reports whether the file belongs to the user of this process.
func ownedByUs(st os.FileInfo) bool {
	s, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}
