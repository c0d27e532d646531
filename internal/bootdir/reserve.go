//go:build linux

package bootdir

import "golang.org/x/sys/unix"

// reserveStretch is how many bytes of a large file are set aside at once. What a kill
// leaves of one ends in at most as many that nobody wrote, see cutTorn.
const reserveStretch = 64 << 20

// reserve sets space aside for the bytes up to end, and some more: a file that grows
// with each write keeps out, on ext4 and XFS, whoever reads it, and the trail reads
// while the file is written. It asks for no more than the file is going to have.
//
// It is a help and never a condition: what the file system does not set aside, it is
// asked for by the write, whose error counts.
func (f *File) reserve(end int64) {
	if f.large == nil || end <= f.ahead || f.size < end {
		return
	}
	from := f.ahead
	f.ahead = min(max(end, from+reserveStretch), f.size)
	if f.s.d.ops.allocate(f.fd, f.up.join(f.name), from, f.ahead-from) != nil {
		f.ahead = f.size
	}
}

// cutReserve ends a file that is not whole behind its last byte.
func (f *File) cutReserve() {
	if f.ahead > f.put {
		_ = f.s.d.ops.truncate(f.fd, f.up.join(f.name), f.put)
	}
}

// cutTorn does the same to a file that a killed run has left, and keeps st true. The file
// system knows what was never written. It knows by its blocks, and that is exact, since
// only the last write to a large file ends within one. Where it does not know, and after an
// error, the file stays as it is, to be found out by its digest.
func (d *Dir) cutTorn(dir *dirFD, name string, st *unix.Stat_t) {
	file, _, err := openOwn(dir, name, unix.O_RDWR)
	if err != nil {
		return
	}
	defer file.Close()
	fd := int(file.Fd())
	end, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
	if err == nil && end < st.Size && d.ops.truncate(fd, dir.join(name), end) == nil {
		st.Size = end
	}
}
