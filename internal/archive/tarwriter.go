package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrSourceChanged says that a source gave more or fewer bytes than the size
// that was announced for it, so it changed while it was read.
var ErrSourceChanged = errors.New("source changed while it was read")

// The only modes that a payload entry has; owners are always 0 and nameless.
const (
	fileMode    = 0o444
	dirMode     = 0o755
	symlinkMode = 0o777
)

// TarWriter writes the payload tar of the format: entries in the order of the
// calls, ustar headers with a PAX header only before an entry whose fields need
// one (a long or non-ASCII name, a file of 8 GiB and more, a time that octal
// cannot hold). The same calls always give the same bytes.
//
// After an error the stream is unusable, because a header may promise bytes that
// never came.
type TarWriter struct {
	tar     *tar.Writer
	modTime time.Time
	buf     []byte
	sum     contentSum
	sums    chan<- []byte // of files with content, for a LayerWriter; may be nil
}

// NewTarWriter writes to w, giving every entry the time modTime, cut to seconds. If w
// is a [LayerWriter], everything that it gets must come from this TarWriter, which
// computes the digests of files together with its own.
func NewTarWriter(w io.Writer, modTime time.Time) *TarWriter {
	t := &TarWriter{
		tar:     tar.NewWriter(w),
		modTime: modTime.UTC().Truncate(time.Second),
		buf:     make([]byte, 128<<10),
	}
	if l, ok := w.(*LayerWriter); ok {
		t.sum.pipe, t.sums = l.pipe, l.fileSums()
	}
	return t
}

// Dir adds a directory. The path has no trailing slash; the tar name has one.
func (t *TarWriter) Dir(path string) error {
	return t.header(path, &tar.Header{Typeflag: tar.TypeDir, Name: path + "/", Mode: dirMode})
}

// Symlink adds a symbolic link; target is written as it is.
func (t *TarWriter) Symlink(path, target string) error {
	return t.header(path, &tar.Header{Typeflag: tar.TypeSymlink, Name: path, Linkname: target, Mode: symlinkMode})
}

// File adds a regular file of exactly size bytes and returns the lower-case hex
// SHA-256 of its content. It reads r to its end and fails with
// [ErrSourceChanged] when r holds fewer or more bytes than size.
func (t *TarWriter) File(path string, size int64, r io.Reader) (sha256hex string, err error) {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path, Size: size, Mode: fileMode}
	if err := t.header(path, h); err != nil {
		return "", err
	}
	t.sum.begin(size)
	n, err := io.CopyBuffer(io.MultiWriter(writerOnly{t.tar}, &t.sum), readerOnly{io.LimitReader(r, size)}, t.buf)
	t.sum.end()
	if err != nil {
		return "", fmt.Errorf("archive %q: %w", path, err)
	}
	if n < size {
		return "", fmt.Errorf("archive %q: %d bytes instead of %d: %w", path, n, size, ErrSourceChanged)
	}
	if t.sums != nil && size > 0 {
		t.sums <- t.sum.digest()
	}
	if err := expectEOF(r); err != nil {
		return "", fmt.Errorf("archive %q after %d bytes: %w", path, size, err)
	}
	return t.sum.hex(), nil
}

// Close writes the end-of-archive marker. It does not close the underlying writer.
func (t *TarWriter) Close() error {
	if err := t.tar.Close(); err != nil {
		return fmt.Errorf("finish the tar stream: %w", err)
	}
	return nil
}

func (t *TarWriter) header(path string, h *tar.Header) error {
	h.ModTime = t.modTime
	if err := t.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("archive %q: %w", path, err)
	}
	return nil
}

// expectEOF fails with ErrSourceChanged when r has another byte.
func expectEOF(r io.Reader) error {
	var one [1]byte
	switch _, err := io.ReadFull(r, one[:]); err {
	case io.EOF:
		return nil
	case nil:
		return ErrSourceChanged
	default:
		return err
	}
}

// writerOnly and readerOnly hide ReadFrom and WriteTo, so that io.CopyBuffer
// keeps to the buffer that it was given.
type (
	writerOnly struct{ io.Writer }
	readerOnly struct{ io.Reader }
)
