package bootcheck

import (
	"encoding/binary"
	"errors"
	"io"
)

// frameReader gives the bytes of one zstd frame and not one more, so that what
// follows in an initrd is not lost in the decoder (RFC 8878, section 3.1.1).
type frameReader struct {
	r    io.Reader
	head []byte // of the frame or of a block, not yet handed out
	left int64  // content of the block, and the checksum behind the last one
	sum  bool
	last bool
	err  error
}

func newFrameReader(r io.Reader) *frameReader {
	f := &frameReader{r: r}
	f.err = f.begin()
	return f
}

// begin reads the header of the frame.
func (f *frameReader) begin() error {
	if err := f.more(5); err != nil {
		return err
	}
	if string(f.head[:4]) != magicZstd {
		return errors.New("not a zstd frame")
	}
	flags := f.head[4]
	size := 1 << (flags >> 6)
	if flags>>6 == 0 {
		size = 0
	}
	if flags&0x20 == 0 {
		size++ // the window
	} else if size == 0 {
		size = 1
	}
	f.sum = flags&4 != 0
	return f.more(size + []int{0, 1, 2, 4}[flags&3])
}

// more reads n bytes of headers.
func (f *frameReader) more(n int) error {
	at := len(f.head)
	f.head = append(f.head, make([]byte, n)...)
	_, err := io.ReadFull(f.r, f.head[at:])
	return noEOF(err)
}

// block reads the header of the next block.
func (f *frameReader) block() error {
	if f.last {
		return io.EOF
	}
	f.head = f.head[:0]
	if err := f.more(3); err != nil {
		return err
	}
	b := uint32(binary.LittleEndian.Uint16(f.head)) | uint32(f.head[2])<<16
	f.last = b&1 != 0
	switch kind := b >> 1 & 3; kind {
	case 1: // one byte that is repeated
		f.left = 1
	case 3:
		return errors.New("a zstd block of a reserved kind")
	default:
		f.left = int64(b >> 3)
	}
	if f.last && f.sum {
		f.left += 4
	}
	return nil
}

// Read implements io.Reader.
func (f *frameReader) Read(p []byte) (int, error) {
	for f.err == nil && len(f.head) == 0 && f.left == 0 {
		f.err = f.block()
	}
	switch {
	case f.err != nil:
		return 0, f.err
	case len(f.head) > 0:
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	if f.left -= int64(n); f.left > 0 {
		f.err = noEOF(err)
	}
	return n, nil
}
