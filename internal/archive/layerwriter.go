package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// zstdWindow is the window of a plain zstd layer: the most that the zstd format
// asks every decoder to support.
const zstdWindow = 8 << 20

var (
	errClosed  = errors.New("layer writer is closed")
	errAborted = errors.New("layer was aborted")
)

// LayerWriter compresses an uncompressed tar stream into a layer blob and
// describes the result. The blob depends only on the tar stream, the compression
// and the payload size that was announced, not on the machine.
//
// The stream is digested in one goroutine and compressed in another; zstd:chunked
// has some more. Exactly one of Close and Abort must be called, and ends them all.
type LayerWriter struct {
	compression Compression
	pipe        *pipe
	size        int64
	blob        *digestWriter
	closed      bool

	sums        *fileSums         // nil where nobody wants them
	encoded     chan struct{}     // closed when the encoder has ended
	annotations map[string]string // valid after encoded
	err         error             // valid after encoded
}

// encoder reads a tar stream to its end, writes the blob and returns the
// annotations of the layer.
type encoder func(r io.Reader) (map[string]string, error)

// LayerOption adjusts a [LayerWriter].
type LayerOption func(*layerOptions)

type layerOptions struct {
	payloadSize int64
	undigested  bool
}

// WithoutDigest leaves the digest of the blob to whoever stores it: the descriptor
// has none. The store digests what it gets anyway, and twice the same costs a tenth
// of packing.
func WithoutDigest() LayerOption {
	return func(o *layerOptions) { o.undigested = true }
}

// WithPayloadSize announces about how many bytes the tar will hold. Only
// zstd:chunked uses it, to choose the mean size of a chunk; it need not be exact,
// but the blob depends on it, so it has to come from the payload itself.
func WithPayloadSize(n int64) LayerOption {
	return func(o *layerOptions) { o.payloadSize = n }
}

// NewLayerWriter writes the blob to w.
func NewLayerWriter(w io.Writer, c Compression, opts ...LayerOption) (*LayerWriter, error) {
	var o layerOptions
	for _, opt := range opts {
		opt(&o)
	}
	l := &LayerWriter{compression: c, blob: &digestWriter{w: w}, encoded: make(chan struct{})}
	if !o.undigested {
		l.blob.hash = sha256.New()
	}
	encode, err := l.newEncoder(o)
	if err != nil {
		return nil, fmt.Errorf("start %s layer: %w", c, err)
	}
	l.pipe = newPipe(digestWritten)
	go func() {
		defer close(l.encoded)
		l.annotations, l.err = encode(l.pipe)
		l.pipe.closeRead(l.err)
	}()
	return l, nil
}

func (l *LayerWriter) newEncoder(o layerOptions) (encoder, error) {
	switch l.compression {
	case None:
		return plainEncoder(nopCloser{l.blob}), nil
	case Gzip:
		z := gzip.NewWriter(l.blob)
		// No name, no time, unknown operating system. The time has to be set:
		// this package writes the zero time.Time as one in 2042.
		z.ModTime = time.Unix(0, 0)
		return plainEncoder(z), nil
	case Zstd:
		z, err := newZstdEncoder(l.blob, zstd.SpeedBetterCompression, zstdWindow, 1)
		return plainEncoder(z), err
	case ZstdChunked:
		l.sums = &fileSums{sums: make(chan []byte, maxFileSums)}
		s, err := newChunkedStream(l.blob, meanChunkSize(o.payloadSize), l.sums)
		if err != nil {
			return nil, err
		}
		return s.encode, nil
	}
	return nil, fmt.Errorf("unknown compression %q", string(l.compression))
}

// fileSums tells the SHA-256 of each file with content, in the order of the tar, from
// the TarWriter that has them.
type fileSums struct {
	used bool // set before the first byte of the tar
	sums chan []byte
}

// maxFileSums is more than there can be on the way: a file takes at least two blocks
// of the tar, and the pipe holds pipeBlocks full blocks of it and one that is filled.
const maxFileSums = (pipeBlocks + 1) * pipeBlockSize / (2 * blockSize)

// fileSums gives the channel for digests of files; nil if they are not wanted.
func (l *LayerWriter) fileSums() chan<- []byte {
	if l.sums == nil {
		return nil
	}
	l.sums.used = true
	return l.sums.sums
}

// newZstdEncoder pins everything that could make the output depend on the machine.
// A stream takes one worker; more of them are for independent frames.
func newZstdEncoder(w io.Writer, level zstd.EncoderLevel, window, workers int) (*zstd.Encoder, error) {
	return zstd.NewWriter(w,
		zstd.WithEncoderLevel(level),
		zstd.WithEncoderConcurrency(workers),
		zstd.WithWindowSize(window))
}

// plainEncoder is a codec that makes no annotations. How the stream arrives in
// pieces does not change what these codecs write.
func plainEncoder(z io.WriteCloser) encoder {
	return func(r io.Reader) (map[string]string, error) {
		if _, err := io.Copy(writerOnly{z}, r); err != nil {
			return nil, err
		}
		return map[string]string{}, z.Close()
	}
}

// Write takes the next bytes of the tar stream. An error in compressing what came
// before may be returned here or by Close.
func (l *LayerWriter) Write(p []byte) (int, error) {
	if l.closed {
		return 0, errClosed
	}
	n, err := l.pipe.Write(p)
	l.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write %s layer: %w", l.compression, err)
	}
	return n, nil
}

// Close ends the blob and returns its descriptor (media type, digest, size and
// annotations: the uncompressed size, and the positions and digests of the tables
// of a zstd:chunked layer) together with the diff ID, the digest of the tar stream.
func (l *LayerWriter) Close() (ocispec.Descriptor, digest.Digest, error) {
	if l.closed {
		return ocispec.Descriptor{}, "", errClosed
	}
	l.end(nil)
	if l.err != nil {
		return ocispec.Descriptor{}, "", fmt.Errorf("finish %s layer: %w", l.compression, l.err)
	}
	l.annotations[spec.AnnotationUncompressedSize] = strconv.FormatInt(l.size, 10)
	desc := ocispec.Descriptor{
		MediaType:   l.compression.MediaType(),
		Digest:      l.blob.digest(),
		Size:        l.blob.size,
		Annotations: l.annotations,
	}
	return desc, l.pipe.digest(), nil
}

// Abort gives the layer up and releases what it holds. It waits for a Write to
// the underlying writer that is still running. After Close it does nothing.
func (l *LayerWriter) Abort() {
	if !l.closed {
		l.end(errAborted)
	}
}

// end lets the encoder and the digest come to their end.
func (l *LayerWriter) end(err error) {
	l.closed = true
	if l.sums != nil {
		close(l.sums.sums) // one that is missing will not come
	}
	l.pipe.closeWrite(err)
	<-l.encoded
	l.pipe.digest()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// digestWriter counts and digests what passes through.
type digestWriter struct {
	w    io.Writer
	hash hash.Hash // nil: it only counts
	size int64
}

func (d *digestWriter) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	if d.hash != nil {
		d.hash.Write(p[:n])
	}
	d.size += int64(n)
	return n, err
}

func (d *digestWriter) digest() digest.Digest {
	if d.hash == nil {
		return ""
	}
	return digest.NewDigest(digest.SHA256, d.hash)
}
