//go:build linux

package bootdir

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/directio"
)

// File is a regular file of a stage that is being written.
type File struct {
	s     *Stage
	up    *dirFD
	name  string
	path  string
	fd    int
	size  int64
	done  int64            // bytes taken
	large *directio.Writer // what they go through; nil for a small file
	put   int64            // bytes in the file
	ahead int64            // bytes of it that space is set aside for
	err   error
	mtime *unix.Timespec // when not nil, keeps this time instead of a new one
	loose bool           // it is not read back
	trail *trail         // reads a large file back meanwhile
	shown int64          // of put, to the trail

	digested bool   // by the writer
	crc      uint32 // of the bytes taken, if digested
}

const (
	// largeFrom is the size in bytes from which on a file is written past the page cache.
	largeFrom = 4 << 20
	// copyBuffer is how many bytes are read, or of a smaller file written, at once.
	copyBuffer = 256 << 10
)

// Create starts a regular file of the tree that will have size bytes, or any
// number of them if size is -1.
func (s *Stage) Create(path string, size int64) (*File, error) {
	up, name, err := s.place(path)
	if err != nil {
		return nil, err
	}
	fd, err := s.d.ops.create(up, name)
	if err != nil {
		up.close()
		return nil, err
	}
	f := &File{s: s, up: up, name: name, path: path, fd: fd, size: size}
	if size < 0 || size >= largeFrom {
		f.large = directio.NewWriter(fd, f.append)
	}
	return f, nil
}

// Digested says that the writer digests what it writes: the file is only read back to
// see that it reads as it was written. It is for a file that is still empty.
func (f *File) Digested() { f.digested = true }

// Write appends to the file; more than the declared size is an error.
func (f *File) Write(p []byte) (n int, err error) {
	if err := f.take(p); err != nil {
		return 0, err
	}
	if f.large != nil {
		n, f.err = f.large.Write(p)
	} else {
		n, f.err = f.append(p)
	}
	return n, f.err
}

// ReadFrom appends all that r has, without a copy on the way where the file is large.
func (f *File) ReadFrom(r io.Reader) (int64, error) {
	if f.large == nil || f.fd < 0 {
		return io.CopyBuffer(struct{ io.Writer }{f}, r, make([]byte, max(1, min(f.size, copyBuffer))))
	}
	return f.large.ReadFrom(&taker{f, r})
}

// taker takes for a file what is read.
type taker struct {
	f *File
	r io.Reader
}

// Read implements [io.Reader].
func (t *taker) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if more := t.f.take(p[:n]); more != nil {
		return 0, more
	}
	return n, err
}

// take counts bytes that are on their way into the file.
func (f *File) take(p []byte) error {
	if f.err != nil {
		return f.err
	}
	if f.fd < 0 {
		return os.ErrClosed
	}
	if f.size >= 0 && f.done+int64(len(p)) > f.size {
		f.err = fmt.Errorf("write %q: more than the declared %d bytes", f.path, f.size)
		return f.err
	}
	f.done += int64(len(p))
	if f.digested {
		f.crc = crc32.Update(f.crc, castagnoli(), p)
	}
	return nil
}

// append puts bytes behind those that are in the file.
func (f *File) append(p []byte) (int, error) {
	f.reserve(f.put + int64(len(p)))
	n, err := f.s.d.ops.write(f.fd, f.up.join(f.name), p)
	f.put += int64(n)
	if err == nil {
		f.wrote()
	}
	return n, err
}

// flush brings what still waits into the file.
func (f *File) flush() error {
	if f.large == nil {
		return f.err
	}
	return cmp.Or(f.err, f.large.Flush())
}

// Close completes the file: mode and time are set, it is brought to the disk,
// dropped from the page cache and read back. Content that does not read back
// with this sha256 (lower-case hex) is an error, and the file is gone. So the writer
// need not compute the digest; where it did (see Digested), that is taken for the content
// that was written, and what reads back otherwise is the error.
func (f *File) Close(sha256 string) error {
	if f.fd < 0 {
		return os.ErrClosed
	}
	err := f.whole()
	if err == nil {
		err = f.settle()
	}
	if err == nil {
		err = f.readBack(sha256)
	}
	if err != nil {
		f.Abort()
		return err
	}
	f.s.finished(f.path, stagedFile{sha256: sha256, size: f.done, fresh: true})
	_ = unix.Close(f.fd)
	f.up.close()
	f.fd = -1
	return nil
}

// Abort removes an unfinished file; after Close it does nothing.
func (f *File) Abort() {
	if f.fd < 0 {
		return
	}
	f.stop()
	_ = unix.Close(f.fd)
	_ = f.s.d.ops.unlink(f.up, f.name)
	f.up.close()
	f.fd = -1
}

// stop ends the writing, without what still waits.
func (f *File) stop() {
	if f.large != nil {
		f.large.Stop()
	}
	f.overtake()
}

// whole tells whether all of the file was written, to its last byte.
func (f *File) whole() error {
	err := f.flush()
	if err == nil && f.size >= 0 && f.done != f.size {
		err = fmt.Errorf("write %q: %d bytes instead of the declared %d", f.path, f.done, f.size)
	}
	return err
}

// settle gives the file its time and mode, brings it to the disk and drops it
// from the page cache.
func (f *File) settle() error {
	ops, shown := f.s.d.ops, f.up.join(f.name)
	mtime, err := f.s.newTime(f.path)
	if f.mtime != nil {
		mtime, err = *f.mtime, nil
	}
	if err != nil {
		return err
	}
	if err := ops.setMtime(f.up, f.name, mtime); err != nil {
		return err
	}
	if err := ops.chmod(f.fd, shown, fileMode); err != nil {
		return err
	}
	if err := ops.fsync(f.fd, shown); err != nil {
		return err
	}
	_ = unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED)
	return nil
}

// readBack compares what the disk has with what the file is to hold.
func (f *File) readBack(want string) error {
	p, read := f.overtake()
	if err := rereadFrom(f.up, f.name, f.fd, p, read); err != nil {
		return err
	}
	if f.digested {
		if p.crc != f.crc {
			return fmt.Errorf("%q reads back otherwise than it was written", f.up.join(f.name))
		}
		return nil
	}
	if got := p.sha256(); got != want {
		return wrongReadBack(f.up.join(f.name), got, want)
	}
	return nil
}

func wrongReadBack(path, got, want string) error {
	return fmt.Errorf("%q reads back with sha256 %s instead of %s", path, got, want)
}

// verifyBack reads a synced file again, from the disk where the kernel lets us,
// and compares.
func verifyBack(up *dirFD, name string, written int, want string) error {
	p := newReread(false)
	if err := rereadFrom(up, name, written, p, 0); err != nil {
		return err
	}
	if got := p.sha256(); got != want {
		return wrongReadBack(up.join(name), got, want)
	}
	return nil
}

// rereadFrom adds to p what a synced file holds from an offset to its end. Its
// descriptor written tells whether the name still leads to it.
func rereadFrom(up *dirFD, name string, written int, p *reread, from int64) error {
	_ = unix.Fadvise(written, 0, 0, unix.FADV_DONTNEED)
	var first unix.Stat_t
	if err := unix.Fstat(written, &first); err != nil {
		return err
	}
	fd, st, err := up.openFile(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !sameInode(&first, st) {
		return fmt.Errorf("%q was replaced while it was written", up.join(name))
	}
	if _, err := unix.Seek(fd, from, io.SeekStart); err != nil {
		return &os.PathError{Op: "seek", Path: up.join(name), Err: err}
	}
	_, err = io.Copy(p, &fdReader{fd, up.join(name)})
	return err
}

// hashFD reads a descriptor from its position to the end.
func hashFD(fd int, shown string) (string, error) {
	at, err := unix.Seek(fd, 0, io.SeekCurrent)
	if err != nil {
		return "", &os.PathError{Op: "seek", Path: shown, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: shown, Err: err}
	}
	h, r, v := sha256.New(), &fdReader{fd, shown}, visit{fd: fd}
	buf := make([]byte, max(1, min(st.Size, copyBuffer)))
	for {
		v.at(at)
		n, err := r.Read(buf)
		h.Write(buf[:n])
		at += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// fdReader reads a descriptor that somebody else closes.
type fdReader struct {
	fd   int
	path string
}

func (r *fdReader) Read(p []byte) (int, error) {
	var n int
	err := retry(func() (err error) { n, err = unix.Read(r.fd, p); return err })
	if err != nil {
		return 0, &os.PathError{Op: "read", Path: r.path, Err: err}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// newTime gives the modification time for bytes that appear at a path now:
// the present, but at least one second after what they replace, because rsync
// and HTTP caches judge by size and whole seconds.
func (s *Stage) newTime(path string) (unix.Timespec, error) {
	now := s.d.opts.Now().UnixNano()
	old, err := s.replaced(path)
	if err != nil {
		return unix.Timespec{}, err
	}
	if old != nil {
		now = max(now, old.Mtim.Nano()+1e9)
	}
	return unix.NsecToTimespec(now), nil
}

// replaced looks at what the live tree has at a path now; nil for nothing.
func (s *Stage) replaced(path string) (*unix.Stat_t, error) {
	if s.old == nil {
		return nil, nil
	}
	st, err := s.old.statPath(path)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	return st, err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
