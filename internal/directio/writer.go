package directio

import (
	"errors"
	"io"
	"syscall"
)

// blocks is how many blocks a Writer has: one is filled, and others wait for a disk
// that is busy, while one is written.
const blocks = 4

// Writer writes a file front to back in blocks of BlockSize, past the page cache as
// far as the file system takes part and gains by it, in a goroutine of its own: the caller fills the
// next block meanwhile. What does not fill a block waits for Flush. Every Writer must
// be ended, by Flush or Stop.
type Writer struct {
	fd     int
	append func(p []byte) (int, error)
	direct bool

	block []byte      // being filled
	made  int         // blocks
	spare chan []byte // written blocks
	full  chan []byte // to be written; nil before the first
	ended chan struct{}
	fail  chan struct{} // closed when err is set
	err   error         // of append
}

// NewWriter writes the file fd, which is empty. append gets blocks and puts them
// behind each other into the file; it may be asked again for what it has not written.
func NewWriter(fd int, append func(p []byte) (int, error)) *Writer {
	return &Writer{fd: fd, append: append, direct: pays(fd) && set(fd, true), block: buffer(BlockSize)[:0], made: 1, fail: make(chan struct{})}
}

// Write implements [io.Writer]. An error of the disk may be one of an earlier Write.
func (w *Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := copy(w.block[len(w.block):cap(w.block)], p[done:])
		done += n
		if err := w.filled(n); err != nil {
			return done, err
		}
	}
	return done, nil
}

// ReadFrom implements [io.ReaderFrom]: r fills the blocks itself.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	var done int64
	for {
		n, err := r.Read(w.block[len(w.block):cap(w.block)])
		done += int64(n)
		if err := w.filled(n); err != nil {
			return done, err
		}
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// filled takes n more bytes that stand in the block.
func (w *Writer) filled(n int) error {
	if w.block = w.block[:len(w.block)+n]; len(w.block) < cap(w.block) {
		return nil
	}
	if w.full == nil {
		w.start()
	}
	w.full <- w.block
	if w.made < blocks {
		w.made++
		w.block = buffer(BlockSize)[:0]
		return nil
	}
	w.block = (<-w.spare)[:0]
	select {
	case <-w.fail:
		return w.err
	default:
		return nil
	}
}

func (w *Writer) start() {
	spareProcessors()
	w.full, w.spare, w.ended = make(chan []byte, blocks), make(chan []byte, blocks), make(chan struct{})
	go func() {
		defer close(w.ended)
		for b := range w.full {
			if w.err == nil {
				if w.err = w.put(b); w.err != nil {
					close(w.fail)
				}
			}
			w.spare <- b
		}
	}()
}

// put writes a block. One that is refused for how it is written goes through the page
// cache, and so does all that follows.
func (w *Writer) put(b []byte) error {
	n, err := w.append(b)
	if w.direct && errors.Is(err, syscall.EINVAL) {
		w.direct = set(w.fd, false)
		_, err = w.append(b[n:])
	}
	return err
}

// Flush writes what waits. Nothing can be written after it.
func (w *Writer) Flush() error {
	rest := w.block
	w.Stop()
	if w.err == nil && len(rest) > 0 {
		w.direct = set(w.fd, false) // its length fits no disk
		w.err = w.put(rest)
	}
	return w.err
}

// Stop ends the Writer without what does not fill a block. It may be called again.
func (w *Writer) Stop() {
	if w.full != nil {
		close(w.full)
		<-w.ended
		w.full = nil
	}
	w.block = nil
}
