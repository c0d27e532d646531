//go:build linux

package bootdir

// reserveStretch is how many bytes of a large file are set aside at once. A file that is
// torn by a kill ends with zeros for at most as many.
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
