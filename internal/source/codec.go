package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"github.com/nbpack/nbpack/spec"
)

// codec is a compression that archives have.
type codec string

const (
	codecNone codec = ""
	codecGzip codec = "gzip"
	codecXZ   codec = "xz"
	codecZstd codec = "zstd"
	codecLZMA codec = "lzma"
)

// maxWindow is the most memory that a stream may want for its dictionary: that
// of xz -9 and zstd -22.
const maxWindow = 128 << 20

// codecOf tells the compression by the first bytes.
func codecOf(begin []byte) codec {
	for _, c := range []struct {
		magic string
		codec codec
	}{{"\x1f\x8b", codecGzip}, {"\xfd7zXZ\x00", codecXZ}, {"\x28\xb5\x2f\xfd", codecZstd}, {"\x5d\x00\x00", codecLZMA}} {
		if bytes.HasPrefix(begin, []byte(c.magic)) {
			return c.codec
		}
	}
	return codecNone
}

// decoder gives an uncompressed stream. What its codec cannot read, and more
// than the compressed size allows, is a refusal.
type decoder struct {
	in    *sourceErrors
	codec codec
	r     io.Reader
	left  int64
	close func()
}

// sourceErrors keeps the first error of the compressed stream, so that it is not
// taken for bad content.
type sourceErrors struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *sourceErrors) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF && s.err == nil {
		s.err = err
	}
	return n, err
}

// newDecoder unpacks r, which has size bytes.
func newDecoder(c codec, r io.Reader, size int64) (*decoder, error) {
	d := &decoder{in: &sourceErrors{r: r}, codec: c, left: bound(size)}
	// The xz library asks for single bytes.
	in := bufio.NewReaderSize(d.in, 256<<10)
	var err error
	switch c {
	case codecNone:
		d.r, d.left = in, size
	case codecGzip:
		d.r, err = gzip.NewReader(in)
	case codecZstd:
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow)); err == nil {
			d.r, d.close = z, z.Close
		}
	case codecXZ:
		d.r, err = newXZ(in)
	case codecLZMA:
		d.r, err = lzma.ReaderConfig{DictCap: maxWindow}.NewReader(in)
	default:
		err = fmt.Errorf("unknown compression %q", c)
	}
	if err != nil {
		return nil, d.explain(err)
	}
	return d, nil
}

// bound is what a compressed stream may unpack to: what gzip can do at its best.
// The others can do far better, but only with what is no boot file.
func bound(size int64) int64 {
	const ratio = 16 * spec.UndeclaredRatio
	return spec.UndeclaredFloor + min(size, 1<<50)*ratio
}

// newXZ refuses a stream whose first block wants more memory than maxWindow: the
// library allocates what a header says.
func newXZ(r *bufio.Reader) (io.Reader, error) {
	begin, err := r.Peek(12 + 8)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(begin) == 20 && begin[12] != 0 && begin[13]&3 == 0 && begin[13]&0xc0 == 0 && begin[14] == 0x21 {
		size, err := lzma.DecodeDictCap(begin[16])
		if err != nil || size > maxWindow {
			return nil, fmt.Errorf("it wants a dictionary of %d bytes, %d are permitted", size, maxWindow)
		}
	}
	return xz.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(r)
}

// Read implements io.Reader.
func (d *decoder) Read(p []byte) (int, error) {
	// One byte more than allowed is asked for, to tell the end from an excess.
	if int64(len(p)) > d.left {
		p = p[:d.left+1]
	}
	n, err := d.r.Read(p)
	if int64(n) > d.left {
		return int(d.left), badArchive("", "the %s stream unpacks to more than its bound", d.codec)
	}
	d.left -= int64(n)
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}

// explain makes a refusal of an error of the codec.
func (d *decoder) explain(err error) error {
	if d.in.err != nil {
		return d.in.err
	}
	var refusal *spec.Refusal
	if d.codec == codecNone || errors.As(err, &refusal) {
		return err
	}
	return badArchive("", "not a valid %s stream: %v", d.codec, noEOF(err))
}

// Close releases the codec.
func (d *decoder) Close() {
	if d.close != nil {
		d.close()
	}
}
