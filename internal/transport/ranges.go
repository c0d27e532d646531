package transport

import (
	"context"
	"errors"
	"fmt"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Range is a part of a blob: Length bytes from Offset on.
type Range struct{ Offset, Length int64 }

// ErrNoRanges says that parts of a blob cannot be had: no server gives them as
// they were asked for, or the blob there does not have the size that its
// descriptor says. The whole blob, by [Source.Blob], is the way left.
var ErrNoRanges = errors.New("the source gives no parts of this blob")

// RangeReader is a [Source] that can read parts of a blob.
//
// It is the exception to what this package promises: what it gives is not
// verified, because only the caller knows the digests of parts.
type RangeReader interface {
	// BlobRanges reads parts, which ascend, do not overlap and lie inside
	// d.Size. It calls f once for each, in order, with its index and a reader
	// of exactly its bytes. f reads that to its end, or returns an error, which
	// ends the call and is given back.
	//
	// An error that is ErrNoRanges may come before the first call of f or
	// later, then from the reader that f has. Breaks of a connection are
	// mended inside a part, as those of Blob are; mirrors are tried in order.
	BlobRanges(ctx context.Context, d ocispec.Descriptor, ranges []Range, f func(i int, r io.Reader) error) error
}

// Ranges is the BlobRanges method of src, or ErrNoRanges where it has none.
func Ranges(ctx context.Context, src Source, d ocispec.Descriptor, ranges []Range, f func(i int, r io.Reader) error) error {
	if r, ok := src.(RangeReader); ok {
		return r.BlobRanges(ctx, d, ranges, f)
	}
	return fmt.Errorf("read parts of %s: %w", d.Digest, ErrNoRanges)
}

// checkRanges refuses parts that are not in order or not inside the blob.
func checkRanges(d ocispec.Descriptor, ranges []Range) error {
	if err := checkDescriptor(d, false); err != nil {
		return err
	}
	end := int64(0)
	for _, r := range ranges {
		if r.Length <= 0 || r.Offset < end || r.Offset > d.Size || r.Length > d.Size-r.Offset {
			return fmt.Errorf("read parts of %s: %d bytes at %d are out of order, or outside its %d bytes", d.Digest, r.Length, r.Offset, d.Size)
		}
		end = r.Offset + r.Length
	}
	return nil
}

// partOf describes one part in messages.
func partOf(d ocispec.Descriptor, r Range) string {
	return fmt.Sprintf("bytes %d-%d of %s", r.Offset, r.Offset+r.Length-1, d.Digest)
}

// BlobRanges implements RangeReader: a local blob is read at offsets.
func (l *local) BlobRanges(ctx context.Context, d ocispec.Descriptor, ranges []Range, f func(i int, r io.Reader) error) error {
	if err := checkRanges(d, ranges); err != nil {
		return err
	}
	file, size, err := l.openDigest(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer file.Close()
	at, ok := file.(io.ReaderAt)
	if !ok || size != d.Size {
		return fmt.Errorf("read parts of %s: %w", d.Digest, ErrNoRanges)
	}
	for i, r := range ranges {
		part := &exactReader{ctx: ctx, r: io.NewSectionReader(at, r.Offset, r.Length), left: r.Length}
		if err := f(i, part); err != nil {
			return err
		}
		if part.left > 0 {
			return fmt.Errorf("read %s: %w", partOf(d, r), errUnread)
		}
	}
	return nil
}

// errUnread reports a caller that leaves part of what it asked for.
var errUnread = errors.New("the part was not read to its end")

// exactReader gives exactly so many bytes of a file that could be shorter now.
type exactReader struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (e *exactReader) Read(p []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := e.r.Read(p)
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
