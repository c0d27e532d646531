package transport

import (
	"os"

	"golang.org/x/sys/unix"
)

// flushRange brings a part of a file to the disk and drops it from the page
// cache. It is only a help: the sync at the end counts.
func flushRange(f *os.File, off, n int64) {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	if unix.SyncFileRange(int(f.Fd()), off, n, all) == nil {
		_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
	}
}
