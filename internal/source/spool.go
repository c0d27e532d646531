package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// defaultTemp is where large temporary files go.
const defaultTemp = "/var/tmp"

// spoolReserve is what a spool leaves free on its file system.
const spoolReserve = 64 << 20

// spool keeps what can be read only once. It is one file, which loses its name
// as soon as it exists: nobody else can open it, and the system frees it when
// this process ends, however it does.
type spool struct {
	dir  string // empty: TMPDIR, or defaultTemp
	f    *os.File
	size int64
}

// piece is a part of a file that this process alone writes, or that is checked
// otherwise.
type piece struct {
	at        io.ReaderAt
	off, size int64
}

func (p piece) reader() *io.SectionReader { return io.NewSectionReader(p.at, p.off, p.size) }

// open implements content.
func (p piece) open(ctx context.Context) (io.ReadCloser, error) {
	return io.NopCloser(&ctxReader{ctx, p.reader()}), nil
}

// create makes the file when it is first needed.
func (s *spool) create() error {
	if s.f != nil {
		return nil
	}
	dir := cmp.Or(s.dir, os.Getenv("TMPDIR"), defaultTemp)
	f, err := os.CreateTemp(dir, ".nbpack-spool-*")
	if err != nil {
		return fmt.Errorf("making a temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(fmt.Errorf("making a temporary file: %w", err), f.Close())
	}
	s.f = f
	return nil
}

// room refuses when there is no space for so many more bytes.
func (s *spool) room(size int64) error {
	if err := s.create(); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.f.Fd()), &st); err != nil {
		return fmt.Errorf("looking at free space for temporary files: %w", err)
	}
	block := max(int64(st.Bsize), 1)
	if blocks := (size + spoolReserve) / block; size < 0 || blocks > int64(st.Bavail) {
		return &spaceError{fmt.Errorf("no room for a temporary file of %d bytes: %w", size, unix.ENOSPC)}
	}
	return nil
}

type spaceError struct{ err error }

func (e *spaceError) Error() string { return e.err.Error() }
func (e *spaceError) Unwrap() error { return e.err }
func (e *spaceError) Hint() string {
	return "set TMPDIR to a directory on a larger file system, or leave files out with --exclude"
}

// spoolWriter appends to a spool. What it wrote counts when it is done.
type spoolWriter struct {
	s    *spool
	size int64
	sum  hash.Hash
}

func (s *spool) writer() *spoolWriter { return &spoolWriter{s: s, sum: sha256.New()} }

// Write implements io.Writer.
func (w *spoolWriter) Write(p []byte) (int, error) {
	n, err := w.s.f.WriteAt(p, w.s.size+w.size)
	w.sum.Write(p[:n])
	w.size += int64(n)
	if errors.Is(err, unix.ENOSPC) {
		err = &spaceError{err}
	}
	return n, err
}

// restart forgets what was written.
func (w *spoolWriter) restart() { w.size, w.sum = 0, sha256.New() }

// done keeps what was written, and tells where it is and its SHA-256.
func (w *spoolWriter) done() (piece, string) {
	p := piece{at: w.s.f, off: w.s.size, size: w.size}
	w.s.size += w.size
	return p, hex.EncodeToString(w.sum.Sum(nil))
}

// add appends what r gives. If size is not negative, r has to have exactly so
// many bytes.
func (s *spool) add(ctx context.Context, r io.Reader, size int64) (piece, string, error) {
	if err := s.room(max(size, 0)); err != nil {
		return piece{}, "", err
	}
	w := s.writer()
	n, err := io.Copy(w, &ctxReader{ctx, r})
	if err != nil {
		return piece{}, "", err
	}
	if size >= 0 && n != size {
		return piece{}, "", fmt.Errorf("%d bytes instead of %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	p, sum := w.done()
	return p, sum, nil
}

func (s *spool) close() error {
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}

// ctxReader ends when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// sum gives the SHA-256 of a file in hex.
func (e *Entry) sum(ctx context.Context) (string, error) {
	r, err := e.Open(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", fmt.Errorf("reading %q: %w", e.Origin, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
