package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
)

// maxWindow is the largest zstd window that is accepted, and so nearly all the
// memory that reading a layer takes. "zstd -19" needs 8 MiB, "--ultra -20" 32. The
// window of the layer before may still wait for the garbage collector, so twice
// 64 MiB would already be more than the 128 MiB that a process may take.
const maxWindow = 32 << 20

// blobReader is the compressed stream. It keeps the first error of the source,
// so that a broken connection is not reported as bad content, and notices when
// the caller has given up.
type blobReader struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (b *blobReader) Read(p []byte) (int, error) {
	if b.err == nil {
		b.err = context.Cause(b.ctx)
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = fmt.Errorf("read layer: %w", err)
		err = b.err
	}
	return n, err
}

// decompressor gives the uncompressed stream; errors of the codec are refusals.
type decompressor struct {
	blob  *blobReader
	codec spec.Codec
	r     io.Reader // made at the first read, since a codec reads ahead
	close func()
}

func (d *decompressor) Read(p []byte) (int, error) {
	if d.r == nil {
		if err := d.open(); err != nil {
			return 0, d.explain(err)
		}
	}
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = d.explain(err)
	}
	return n, err
}

// open starts the codec. What follows a member or a frame is read as the next
// one; bytes that are neither make an error.
func (d *decompressor) open() error {
	switch d.codec {
	case spec.CodecGzip:
		z, err := gzip.NewReader(d.blob)
		d.r = z
		return noEOF(err)
	case spec.CodecZstd:
		z, err := newZstdDecoder(d.blob)
		if err != nil {
			return err
		}
		d.r, d.close = z, z.Close
		return nil
	}
	d.r = d.blob
	return nil
}

// newZstdDecoder has one worker: no goroutines, no blocks in advance, less memory.
func newZstdDecoder(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
}

// explain makes a refusal of an error of the codec.
func (d *decompressor) explain(err error) error {
	if d.blob.err != nil {
		return d.blob.err
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		r := spec.Refuse(spec.RuleLayerStream, "", "the zstd window of the layer is larger than %d MiB", maxWindow>>20)
		r.Advice = fmt.Sprintf("compress the layer again with a window of at most %d MiB (zstd without --long and --ultra)", maxWindow>>20)
		return r
	}
	return spec.Refuse(spec.RuleLayerStream, "", "the layer is not a valid %s stream: %w", d.codec, noEOF(err))
}

// Close releases the codec.
func (d *decompressor) Close() {
	if d.close != nil {
		d.close()
		d.close = nil
	}
}

// noEOF replaces the end of a stream where a codec expected more.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// boundedReader refuses more than left bytes of the uncompressed stream.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	// One byte more than allowed is asked for, to tell the end from an excess.
	if int64(len(p)) > b.left {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		err = spec.Refuse(spec.RuleLayerSize, "", "the layer unpacks to more than its bound")
	}
	b.left -= int64(n)
	return n, err
}
