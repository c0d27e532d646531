// Package directio writes and reads large files past the page cache (O_DIRECT, see
// open(2)). A boot image is written once and read back once; going through the cache
// would copy each byte twice more and take as much memory as the file has bytes, and
// getting memory that is new costs more processor time than digesting it does.
//
// It is a help and never a condition: where a file system or a device does not take
// part, the same calls go through the page cache.
package directio

import "unsafe"

const (
	// Align is what memory, offsets and lengths of direct reads and writes are
	// multiples of, in bytes: no file system in use asks for more.
	Align = 4 << 10
	// BlockSize is how many bytes are read or written at once. Smaller ones leave
	// fast disks idle.
	BlockSize = 1 << 20
)

// Buffer gives size bytes that begin at a multiple of Align.
func Buffer(size int) []byte {
	b := make([]byte, size+Align)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (Align - 1)
	return b[skip : skip+size : skip+size]
}
