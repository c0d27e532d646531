package directio

import (
	"errors"
	"io"
	"syscall"
)

// Reader reads stretches of a file in blocks of BlockSize, past the page cache as far as
// the file system takes part: what is on the disk, and not what is remembered of it. It
// is for one goroutine.
type Reader struct {
	fd     int
	readAt func(p []byte, at int64) (int, error)
	direct bool
	block  []byte // made for the first read
}

// NewReader reads the file fd by way of readAt, which reads it as pread(2) does.
func NewReader(fd int, readAt func(p []byte, at int64) (int, error)) *Reader {
	return &Reader{fd: fd, readAt: readAt, direct: set(fd, true)}
}

// Each gives take the bytes from one offset to another, in order. Where the file ends
// before, it fails with [io.ErrUnexpectedEOF].
func (r *Reader) Each(from, to int64, take func(p []byte)) error {
	if r.block == nil {
		r.block = buffer(BlockSize)
	}
	for from < to {
		n, err := r.read(r.block[:min(BlockSize, to-from)], from)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		take(r.block[:n])
		from += int64(n)
	}
	return nil
}

// read goes through the page cache from the first read on that is refused for how it
// reads.
func (r *Reader) read(p []byte, at int64) (int, error) {
	n, err := r.readAt(p, at)
	if r.direct && errors.Is(err, syscall.EINVAL) {
		r.direct = set(r.fd, false)
		return r.readAt(p, at)
	}
	return n, err
}
