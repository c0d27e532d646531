//go:build linux

package bootdir

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// visit goes through a file once and leaves the page cache as it was: stretches that
// were not in it leave it behind the reader. Reading into memory that was used just
// before takes a tenth of the processor time of memory that is new to the process and
// maybe to its virtual machine; and what somebody is served from stays cached.
type visit struct {
	fd    int
	fresh bool  // nobody but us has read the file yet: all of it goes
	here  int64 // stretch that is being read, counted from 1
	cold  bool  // it was not in the cache
}

// at is told of each place before it is read.
func (v *visit) at(offset int64) {
	here := offset/trailStretch + 1
	if here == v.here {
		return
	}
	if v.cold {
		_ = unix.Fadvise(v.fd, (v.here-1)*trailStretch, trailStretch, unix.FADV_DONTNEED)
	}
	v.here, v.cold = here, v.fresh || isCold(v.fd, (here-1)*trailStretch)
}

// isCold looks whether a stretch is out of the page cache, at its middle, which reading
// ahead has not reached. Where the system cannot tell, it is taken to be there.
func isCold(fd int, from int64) bool {
	b := make([]byte, 1)
	err := retry(func() error {
		_, err := unix.Preadv2(fd, [][]byte{b}, from+trailStretch/2, unix.RWF_NOWAIT)
		return err
	})
	return errors.Is(err, unix.EAGAIN)
}

// passing is an open file that is visited.
type passing struct {
	file  *os.File // not embedded: its WriteTo would read past visit
	visit visit
	done  int64 // read front to back
}

func newPassing(fd int, shown string, fresh bool) *passing {
	return &passing{file: os.NewFile(uintptr(fd), shown), visit: visit{fd: fd, fresh: fresh}}
}

// Read implements [io.Reader].
func (f *passing) Read(b []byte) (int, error) {
	f.visit.at(f.done)
	n, err := f.file.Read(b)
	f.done += int64(n)
	return n, err
}

// ReadAt implements [io.ReaderAt], for one goroutine.
func (f *passing) ReadAt(b []byte, offset int64) (int, error) {
	f.visit.at(offset)
	return f.file.ReadAt(b, offset)
}

// Close implements [io.Closer].
func (f *passing) Close() error { return f.file.Close() }
