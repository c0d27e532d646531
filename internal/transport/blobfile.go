package transport

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"

	"github.com/nbpack/nbpack/internal/directio"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobBuffer is what the small writes of a codec are gathered into, in bytes.
const blobBuffer = 256 << 10

// blobFile is a blob that is being written, and digested on the way.
type blobFile struct {
	in  io.Writer // buf, until the context ends
	buf interface {
		io.Writer
		Flush() error
	}
	direct *directio.Writer // the same, of a durable one
	file   *os.File
	hash   hash.Hash
	size   int64

	start func() *headStart // called once, when the blob is large; may be nil
	ahead *headStart
}

// createBlob starts a blob in a file that must not exist yet. A durable one has
// reached the disk when it is finished. Writes fail once ctx has ended.
func createBlob(ctx context.Context, name string, durable bool) (*blobFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	b := &blobFile{file: f, hash: sha256.New()}
	sink := (*blobSink)(b)
	if durable {
		b.direct = directio.NewWriter(int(f.Fd()), sink.Write)
		b.buf = b.direct
	} else { // it will be read again, from the page cache
		b.buf = bufio.NewWriterSize(sink, blobBuffer)
	}
	b.in = &ctxWriter{ctx, b.buf}
	return b, nil
}

// Write implements [io.Writer].
func (b *blobFile) Write(p []byte) (int, error) { return b.in.Write(p) }

// finish completes the blob unless err says that writing it failed.
func (b *blobFile) finish(err error) (ocispec.Descriptor, error) {
	if err == nil {
		err = b.buf.Flush()
	}
	if b.direct != nil {
		b.direct.Stop()
		if err == nil {
			err = b.file.Sync()
		}
	}
	d := ocispec.Descriptor{Digest: digest.NewDigest(digest.SHA256, b.hash), Size: b.size}
	if err = errors.Join(err, b.file.Close()); err != nil {
		b.ahead.abandon()
		return d, err
	}
	b.ahead.grown(b.size, true)
	return d, nil
}

// blobSink is a blobFile behind its buffer.
type blobSink blobFile

func (b *blobSink) Write(p []byte) (int, error) {
	n, err := b.file.Write(p)
	b.hash.Write(p[:n])
	b.size += int64(n)
	if b.start != nil && b.size >= headStartFrom {
		b.ahead, b.start = b.start(), nil
	}
	b.ahead.grown(b.size, false)
	return n, err
}

// ctxWriter fails once its context has ended.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (w *ctxWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}
