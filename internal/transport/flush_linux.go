package transport

import (
	"os"

	"golang.org/x/sys/unix"
)

// startFlush has the kernel begin to write a part of a file to the disk. It is
// only a hint: the sync at the end counts.
func startFlush(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
