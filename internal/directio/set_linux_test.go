package directio

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestWherePast: which file systems are written to past the page cache, as far as one of
// those that are known is at hand.
func TestWherePast(t *testing.T) {
	f := create(t)
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	w := NewWriter(int(f.Fd()), f.Write)
	defer w.Stop()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	past := flags&unix.O_DIRECT != 0
	if past != w.direct {
		t.Errorf("the writer takes its file for direct: %v, it is: %v", w.direct, past)
	}
	known := map[int64]bool{unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: false}
	if want, ok := known[int64(st.Type)]; ok && past != want {
		t.Errorf("file system %#x is written to past the page cache: %v", st.Type, past)
	}
}
