package source

import (
	"io/fs"
	"syscall"
	"time"
)

// changeTime is when the inode was last changed, which no program can set.
func changeTime(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return time.Time{}
}
