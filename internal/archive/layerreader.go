package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var errReaderClosed = errors.New("layer reader is closed")

// LayerReader reads the entries of a compressed layer one after the other, as
// archive/tar does, but trusts nothing: see Next.
//
// The blob is read in one goroutine and decompressed in another, a few blocks ahead of
// the caller; the diff ID and the digests of files are computed in a third, behind it.
// Close ends them all. After an error every further call returns the same error.
type LayerReader struct {
	blob  io.Reader
	ahead *pipe // the blob; nil before the first call of Next
	dec   *decompressor
	pipe  *pipe          // the uncompressed stream, as long as ahead
	ended sync.WaitGroup // what fills the pipes
	left  int64          // of the bound, behind what the caller has read
	scan  *tarScanner
	check entryCheck
	file  string // path of the current entry if it has content
	sum   contentSum
	exact bool // the layer declares its uncompressed size
	err   error
}

// NewLayerReader reads the blob r, which desc describes; layer is its index in the
// manifest and goes into every entry. The codec is that of the media type, the
// first bytes do not count. The uncompressed stream is bounded by [spec.LayerBound];
// where the layer declares its size, the stream has to have exactly that.
//
// The caller proves digest and size of the blob, usually by giving a reader that
// fails at its end; when Next returns [io.EOF], r was read to its end.
func NewLayerReader(ctx context.Context, r io.Reader, desc ocispec.Descriptor, layer int) (*LayerReader, error) {
	codec, err := spec.LayerCodec(desc.MediaType)
	if err != nil {
		return nil, fmt.Errorf("layer %d: %w", layer, err)
	}
	bound, declared, err := spec.LayerBound(desc)
	if err != nil {
		return nil, fmt.Errorf("layer %d: %w", layer, err)
	}
	dec := &decompressor{blob: &blobReader{ctx: ctx}, codec: codec}
	l := &LayerReader{blob: r, dec: dec, left: bound, exact: declared, check: entryCheck{layer: layer}}
	l.scan = &tarScanner{r: readerFunc(l.readStream)}
	return l, nil
}

// start lets the goroutines run. They wait for the first call of Next, so that who
// never asks has nothing to end.
func (l *LayerReader) start() {
	l.ahead, l.pipe = newPipe(undigested), newPipe(digestRead)
	l.sum.pipe = l.pipe
	l.dec.blob.r = l.ahead
	stream := &boundedReader{r: l.dec, left: l.left}
	l.ended.Go(func() { l.ahead.fill(l.blob) })
	l.ended.Go(func() { l.pipe.fill(stream) })
}

// readStream reads the uncompressed stream and counts it.
func (l *LayerReader) readStream(p []byte) (int, error) {
	n, err := l.pipe.Read(p)
	l.left -= int64(n)
	return n, err
}

// Next skips what is left of the current file and returns the next entry, its path
// and link target checked by the rules of package spec. The root directory has the
// path ".". Extended attributes are dropped; mode, owner and time are for lint.
//
// A *[spec.Refusal] reports: a stream that its codec cannot read or that exceeds
// its bound, an entry that announces more than what is left of the bound, types
// other than file, directory, symlink and hard link, sparse files, whiteouts,
// headers that two readers could understand differently, more than
// [spec.MaxEntries] entries, and anything but zero bytes behind the archive.
//
// [io.EOF] means that the whole layer was read and is in order.
func (l *LayerReader) Next() (spec.Entry, error) {
	if l.err != nil {
		return spec.Entry{}, l.err
	}
	e, err := l.next()
	if err != nil {
		l.fail(err)
		return spec.Entry{}, l.err
	}
	return e, nil
}

func (l *LayerReader) next() (spec.Entry, error) {
	if l.pipe == nil {
		l.start()
	}
	l.file = ""
	l.sum.end()
	h, err := l.scan.next()
	if err == io.EOF {
		return spec.Entry{}, l.finish()
	}
	if err != nil {
		return spec.Entry{}, err
	}
	e, err := l.check.entry(h, l.left)
	if err == nil && e.Type == spec.TypeFile {
		l.file = e.Path
		l.sum.begin(e.Size)
	}
	return e, err
}

// finish reads the compressed stream to its end, so that the diff ID and whatever
// the caller computes over the blob are complete.
func (l *LayerReader) finish() error {
	if err := l.scan.drain(io.Discard); err != nil {
		return err
	}
	if l.exact && l.left > 0 {
		return spec.Refuse(spec.RuleLayerSize, "", "the layer is %d bytes shorter than it declares", l.left)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(l.dec.blob, 1))
	if err != nil {
		return err
	}
	if n > 0 {
		return spec.Refuse(spec.RuleLayerStream, "", "data behind the end of the %s stream", l.dec.codec)
	}
	return io.EOF
}

// Read reads the content of the file that Next returned last; io.EOF at its end,
// and at once for entries of other types.
func (l *LayerReader) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.scan.Read(p)
	if err != nil && err != io.EOF {
		l.fail(err)
		return n, l.err
	}
	_, _ = l.sum.Write(p[:n])
	if l.scan.left == 0 {
		l.sum.end()
	}
	return n, err
}

// SHA256 is the digest of the file that Next returned last, in lower-case hex. It is
// known once all of the content was read; before that it is empty or that of a part, and
// for entries of other types it means nothing.
func (l *LayerReader) SHA256() string { return l.sum.hex() }

// fail remembers the first error, saying where it happened.
func (l *LayerReader) fail(err error) {
	switch {
	case err == io.EOF:
		l.err = err
	case l.file != "":
		l.err = fmt.Errorf("layer %d, file %q: %w", l.check.layer, l.file, err)
	default:
		l.err = fmt.Errorf("layer %d: %w", l.check.layer, err)
	}
}

// DiffID is the digest of the uncompressed stream, known once Next has returned
// [io.EOF]; before that it is empty.
func (l *LayerReader) DiffID() digest.Digest {
	if l.err != io.EOF {
		return ""
	}
	return l.pipe.digest()
}

// Close ends the goroutines and releases the decoder. It waits for a Read of the blob
// that is under way, which ends early if the blob's reader heeds its context; it does
// not close the blob.
func (l *LayerReader) Close() error {
	if l.err == nil {
		l.err = errReaderClosed
	}
	if l.pipe != nil {
		l.ahead.closeRead(errReaderClosed)
		l.pipe.closeRead(errReaderClosed)
		l.ended.Wait()
		l.pipe.digest()
	}
	l.dec.Close()
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
