package directio

import "golang.org/x/sys/unix"

// set has reading and writing of an open file go past the page cache, or through it again, and
// tells whether they go past it now. A file system that says yes can still answer a
// call with EINVAL, which means no.
func set(fd int, on bool) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	want := flags &^ unix.O_DIRECT
	if on {
		want |= unix.O_DIRECT
	}
	if want != flags {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, want); err != nil {
			return !on
		}
	}
	return on
}

// pays tells whether writing past the page cache is worth it. On btrfs it is not: where
// data has checksums, which is the rule, kernels since 6.14 take direct writes through the
// cache all the same, and wait for the disk after each.
func pays(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) != nil || int64(st.Type) != unix.BTRFS_SUPER_MAGIC
}
