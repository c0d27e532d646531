// Package directio writes and reads large files past the page cache (O_DIRECT, see open(2)). A
// boot image is written once; going through the cache would copy each byte once more and
// take as much memory as the file has bytes, and getting memory that is new costs more
// processor time than digesting what it holds.
//
// It is a help and never a condition: where a file system or a device does not take
// part, the same calls go through the page cache.
package directio

import "unsafe"

const (
	// align is what memory, offsets and lengths of direct writes and reads are
	// multiples of, in bytes: no file system in use asks for more.
	align = 4 << 10
	// BlockSize is how many bytes are written or read at once. Smaller ones leave
	// fast disks idle.
	BlockSize = 1 << 20
)

// buffer gives size bytes that begin at a multiple of align.
func buffer(size int) []byte {
	b := make([]byte, size+align)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (align - 1)
	return b[skip : skip+size : skip+size]
}
