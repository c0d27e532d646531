package fetch

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve has the file system set bytes aside for a file, whose size stays. It is no
// error where that cannot be done, but where there are not as many.
func reserve(f *os.File, size int64) error {
	err := unix.EINTR
	for err == unix.EINTR { // the runtime interrupts its threads
		err, _ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size).(unix.Errno)
	}
	if err == unix.ENOSPC || err == unix.EFBIG || err == unix.EDQUOT {
		return err
	}
	return nil
}
