package bootcheck

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

// lz4Reader unpacks the legacy frames of lz4, the only ones that Linux reads
// (doc/lz4_Frame_format.md and lz4_Block_format.md of lz4). It ends where no block
// follows; what is there stays to be read.
type lz4Reader struct {
	r   *bufio.Reader
	in  []byte
	out []byte // of the current block, not yet handed out
	buf []byte
}

const (
	lz4Block   = 8 << 20                      // bytes of an unpacked block
	lz4MaxSize = lz4Block + lz4Block/255 + 16 // bytes of a packed one
	lz4Magic   = "\x02\x21\x4c\x18"           // of a legacy frame
)

var errLZ4 = errors.New("not a valid lz4 block")

// Read implements io.Reader.
func (l *lz4Reader) Read(p []byte) (int, error) {
	for len(l.out) == 0 {
		if err := l.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	return n, nil
}

func (l *lz4Reader) block() error {
	b, err := l.r.Peek(4)
	if len(b) < 4 {
		if err == io.EOF {
			return io.EOF // up to three bytes of padding
		}
		return err
	}
	size := binary.LittleEndian.Uint32(b)
	switch {
	case string(b) == lz4Magic:
		_, err = l.r.Discard(4)
		return err
	case size == 0 || size > lz4MaxSize:
		return io.EOF
	}
	if _, err := l.r.Discard(4); err != nil {
		return err
	}
	if l.buf == nil {
		l.in, l.buf = make([]byte, lz4MaxSize), make([]byte, lz4Block)
	}
	if _, err := io.ReadFull(l.r, l.in[:size]); err != nil {
		return noEOF(err)
	}
	n, err := unpackLZ4(l.buf, l.in[:size])
	l.out = l.buf[:n]
	return err
}

// unpackLZ4 unpacks one block, and gives the number of bytes in dst.
func unpackLZ4(dst, src []byte) (int, error) {
	n := 0
	for len(src) > 0 {
		token := src[0]
		literals, rest, err := lz4Length(int(token>>4), src[1:])
		if err != nil || literals > len(rest) || literals > len(dst)-n {
			return 0, errLZ4
		}
		n += copy(dst[n:], rest[:literals])
		if src = rest[literals:]; len(src) == 0 {
			return n, nil // the last sequence has no match
		}
		if len(src) < 2 {
			return 0, errLZ4
		}
		offset := int(binary.LittleEndian.Uint16(src))
		match, rest, err := lz4Length(int(token&15), src[2:])
		match += 4
		if err != nil || offset == 0 || offset > n || match > len(dst)-n {
			return 0, errLZ4
		}
		for end := n + match; n < end; {
			// A match may run into what it makes itself.
			n += copy(dst[n:min(end, n+offset)], dst[n-offset:n])
		}
		src = rest
	}
	return 0, errLZ4
}

// lz4Length reads what follows a length of 15.
func lz4Length(n int, src []byte) (int, []byte, error) {
	if n < 15 {
		return n, src, nil
	}
	for i, b := range src {
		if n += int(b); b < 255 {
			return n, src[i+1:], nil
		}
	}
	return 0, nil, errLZ4
}
