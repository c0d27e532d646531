package bootcheck

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

const (
	magicGzip = "\x1f\x8b"
	magicXZ   = "\xfd7zXZ\x00"
	magicZstd = "\x28\xb5\x2f\xfd"

	// maxWindow is the largest dictionary that is accepted, which is nearly all
	// the memory that unpacking takes. "xz -8" needs 32 MiB, what distributions
	// use for an initrd much less.
	maxWindow = 32 << 20
	// What is packed may unpack to unpackFloor + unpackRatio × its size.
	unpackFloor = 64 << 20
	unpackRatio = 256
)

// errUnsupported is content that may well be in order, but is not looked at.
var errUnsupported = errors.New("cannot be unpacked here")

// compression names the codec of a stream by its first bytes; empty if it is none
// that is known here.
func compression(begin []byte) string {
	for _, c := range []struct{ magic, name string }{
		{magicGzip, "gzip"}, {magicXZ, "xz"}, {magicZstd, "zstd"}, {lz4Magic, "lz4"},
	} {
		if strings.HasPrefix(string(begin), c.magic) {
			return c.name
		}
	}
	return ""
}

// unpack gives the content of the compressed stream at r, and a function that has
// to be called when it was read: r then stands behind the stream.
func unpack(r *bufio.Reader, codec string) (io.Reader, func(), error) {
	in := &countReader{r: r}
	done := func() {}
	var out io.Reader
	var err error
	switch codec {
	case "gzip":
		var z *gzip.Reader
		if z, err = gzip.NewReader(in); err == nil {
			z.Multistream(false)
			out = z
		}
	case "xz":
		out, err = newXZ(r, in)
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(newFrameReader(in), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			out, done = &zstdReader{z}, z.Close
		}
	case "lz4":
		in.n = lz4MaxSize // it is bounded by itself
		out = &lz4Reader{r: r}
	default:
		err = errUnsupported
	}
	if err != nil {
		return nil, done, err
	}
	return &boundReader{r: out, in: in}, done, nil
}

// countReader counts what was read of a compressed stream. It gives single bytes,
// so that decoders take no more than they need.
type countReader struct {
	r    *bufio.Reader
	n    int64
	last [3]byte
}

// Read implements io.Reader.
func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.note(p[:n])
	return n, err
}

// ReadByte implements io.ByteReader.
func (c *countReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.note([]byte{b})
	}
	return b, err
}

func (c *countReader) note(p []byte) {
	c.n += int64(len(p))
	for _, b := range p[max(0, len(p)-len(c.last)):] {
		c.last = [3]byte{c.last[1], c.last[2], b}
	}
}

// boundReader ends a stream that unpacks to far more than initrds do.
type boundReader struct {
	r  io.Reader
	in *countReader
	n  int64
	// err is kept: a decoder that is asked again at its end may go on in what
	// follows.
	err error
}

// Read implements io.Reader.
func (b *boundReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.err = err
	if b.n += int64(n); b.n > unpackFloor+unpackRatio*b.in.n {
		n, b.err = 0, fmt.Errorf("%w: it unpacks to more than %d times its size", errUnsupported, unpackRatio)
	}
	return n, b.err
}

// zstdReader tells a window that is too large from damage.
type zstdReader struct{ r io.Reader }

// Read implements io.Reader.
func (z *zstdReader) Read(p []byte) (int, error) {
	n, err := z.r.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = errWindow
	}
	return n, err
}

var errWindow = fmt.Errorf("%w: it wants more than %d MiB of memory", errUnsupported, maxWindow>>20)

// xzReader reads one xz stream.
type xzReader struct {
	r  io.Reader
	in *countReader
}

// newXZ refuses a dictionary that is too large, because the library allocates what
// the header says.
func newXZ(r *bufio.Reader, in *countReader) (io.Reader, error) {
	const streamHeader = 12
	b, err := r.Peek(streamHeader + 5)
	if err != nil {
		return nil, noEOF(err)
	}
	// The block header: its size, flags without the two optional sizes, and one
	// filter, which is LZMA2 with one byte of properties.
	if block := b[streamHeader:]; block[0] != 0 {
		if block[1] != 0 || block[2] != 0x21 {
			return nil, errUnsupported
		}
		if size, err := lzma.DecodeDictCap(block[4]); err != nil || size > maxWindow {
			return nil, errWindow
		}
	}
	x, err := xz.ReaderConfig{DictCap: lzma.MinDictCap, SingleStream: true}.NewReader(in)
	if err != nil {
		return nil, err
	}
	return &xzReader{x, in}, nil
}

// Read implements io.Reader. The library looks one byte behind the stream and
// fails if there is one; that is put back.
func (x *xzReader) Read(p []byte) (int, error) {
	n, err := x.r.Read(p)
	if err != nil && err != io.EOF && x.in.last[0] == 'Y' && x.in.last[1] == 'Z' {
		_ = x.in.r.UnreadByte() // it was read just now
		err = io.EOF
	}
	return n, err
}
