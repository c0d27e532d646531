package archive

import (
	"context"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
)

// FrameReader decompresses ranges of a zstd:chunked blob: whole files, chunks, or
// runs of neighbouring chunks. It can be used for many ranges, one after the other.
type FrameReader struct {
	dec  decompressor
	zstd *zstd.Decoder
	left int64
	err  error
}

// NewFrameReader makes a reader that has nothing to read before Reset.
func NewFrameReader() (*FrameReader, error) {
	z, err := newZstdDecoder(nil)
	if err != nil {
		return nil, err
	}
	return &FrameReader{dec: decompressor{codec: spec.CodecZstd, r: z, close: z.Close}, zstd: z, err: io.EOF}, nil
}

// Reset begins a range: r gives the bytes of the blob in it and ends there, size is
// how many bytes of content they must hold.
func (f *FrameReader) Reset(ctx context.Context, r io.Reader, size int64) error {
	f.dec.blob = &blobReader{ctx: ctx, r: r}
	f.left, f.err = size, nil
	return f.zstd.Reset(f.dec.blob)
}

// Read gives the content. [io.EOF] means that it had the announced size and that r
// was read to its end; more, less, or what is no zstd stream gives a
// *[spec.Refusal], and errors of r are passed on. Whether it is the right content,
// only its digest tells.
func (f *FrameReader) Read(p []byte) (int, error) {
	if f.err != nil || len(p) == 0 {
		return 0, f.err
	}
	// One byte more than allowed is asked for, to tell the end from an excess.
	if int64(len(p)) > f.left {
		p = p[:f.left+1]
	}
	n, err := f.dec.Read(p)
	switch {
	case int64(n) > f.left:
		n = int(f.left)
		err = spec.Refuse(spec.RuleLayerStream, "", "a range of the layer unpacks to more than its table says")
	case err == io.EOF && int64(n) < f.left:
		err = spec.Refuse(spec.RuleLayerStream, "", "a range of the layer unpacks to %d bytes less than its table says", f.left-int64(n))
	}
	f.left -= int64(n)
	f.err = err
	return n, err
}

// Close releases the decoder.
func (f *FrameReader) Close() { f.dec.Close() }
