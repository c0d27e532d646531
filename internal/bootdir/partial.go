//go:build linux

package bootdir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// partialName is the directory of what interrupted runs have left for the next
// one. Two kinds of regular files lie in it:
//
//	<algorithm>-<hex>       the beginning of a blob, see Partial
//	file-<live>-<path>      a staged file, whole or torn, see Leftover
//
// None of it is trusted: whoever uses it hashes it again.
const partialName = "partial"

// partialMin is the size of a blob, in bytes, from which on its beginning is
// kept. Less is fetched again sooner than a user notices.
const partialMin = 16 << 20

// Partial is the beginning of a blob that is being fetched, so that a run that
// is cut off, be it by SIGKILL, need not be repeated from the start. It is a
// help and never a hindrance: nil is a Partial that keeps nothing, and when
// the disk refuses, it goes away and the download goes on.
//
// It is used by one goroutine.
type Partial struct {
	d    *Dir
	dir  *dirFD
	name string
	file *os.File // nil: gone or closed
	fd   int      // of file
	size int64    // bytes that were found
	end  int64    // bytes that are there now
	max  int64    // bytes of the blob
}

// Partial opens what earlier runs have kept of a blob ("sha256:…") of size
// bytes, and makes it ready to take more. It gives nil for blobs that are too
// small to matter, while another Partial of the blob is open, and when there
// is no place for one.
func (d *Dir) Partial(digest string, size int64) *Partial {
	if size < d.opts.atLeast(partialMin) || d.needLock() != nil {
		return nil
	}
	name, err := partialBlobName(digest)
	if err != nil || !d.occupy(name) {
		return nil
	}
	p := &Partial{d: d, name: name, max: size}
	if err := p.open(); err != nil {
		d.opts.Log("cannot keep the beginning of %s for a later run: %v", digest, err)
		p.release()
		return nil
	}
	return p
}

// atLeast is a threshold, which tests can lower.
func (o *Options) atLeast(n int64) int64 {
	if o.partialMin > 0 {
		return o.partialMin
	}
	return n
}

// partialBlobName gives the name of the file for a blob.
func partialBlobName(digest string) (string, error) {
	d, err := spec.ParseDigest(digest)
	if err != nil {
		return "", err
	}
	return d.Algorithm().String() + "-" + d.Encoded(), nil
}

// leftoverName gives the name of the file for a staged file. The path is
// hashed because it can be too long for a name.
func leftoverName(liveKey, path string) string {
	sum := sha256.Sum256([]byte(path))
	return leftoverPrefix(liveKey) + hex.EncodeToString(sum[:16])
}

func leftoverPrefix(liveKey string) string { return "file-" + liveKey + "-" }

// liveKeyLen is the length of a live key.
const liveKeyLen = 8

// liveKey stands for a live path in the names of stages and of what is left of
// them. That two paths may share one does no harm.
func liveKey(live string) string { return treeRecordName(live)[:liveKeyLen] }

// occupy reserves a file of the directory; false when it is in use.
func (d *Dir) occupy(name string) bool {
	d.partialMu.Lock()
	defer d.partialMu.Unlock()
	if d.inUse[name] {
		return false
	}
	d.inUse[name] = true
	return true
}

func (d *Dir) vacate(name string) {
	d.partialMu.Lock()
	defer d.partialMu.Unlock()
	delete(d.inUse, name)
}

// open opens the file for the blob. One that cannot be its beginning goes.
func (p *Partial) open() (err error) {
	if p.dir, err = p.d.stateDir(partialName, true); err != nil {
		return err
	}
	file, st, err := openOwn(p.dir, p.name, unix.O_RDWR|unix.O_APPEND)
	if err == nil && st.Size <= p.max {
		p.file, p.fd, p.size, p.end = file, int(file.Fd()), st.Size, st.Size
		return nil
	}
	if err == nil {
		_ = file.Close()
	}
	if !isMissing(err) {
		if err := p.d.removeAll(p.dir, p.name); err != nil {
			return err
		}
	}
	fd, err := p.d.ops.create(p.dir, p.name)
	if err != nil {
		return err
	}
	p.file, p.fd = os.NewFile(uintptr(fd), p.dir.join(p.name)), fd
	return nil
}

// openOwn opens a regular file of this user that nobody else can write.
func openOwn(dir *dirFD, name string, flags int) (*os.File, *unix.Stat_t, error) {
	fd := -1
	err := retry(func() (err error) {
		fd, err = unix.Openat(dir.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, nil, &fs.PathError{Op: "open", Path: dir.join(name), Err: err}
	}
	file := os.NewFile(uintptr(fd), dir.join(name))
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	if !isType(&st, unix.S_IFREG) || int(st.Uid) != os.Geteuid() || perm(&st)&0o022 != 0 {
		return nil, nil, errors.Join(fmt.Errorf("%q is not a file that this user alone can write", dir.join(name)), file.Close())
	}
	return file, &st, nil
}

// Size gives the bytes that earlier runs have kept.
func (p *Partial) Size() int64 {
	if p == nil {
		return 0
	}
	return p.size
}

// Prefix reads the bytes that earlier runs have kept, for
// transport.Resume. It can be read until Close or Drop.
func (p *Partial) Prefix() io.Reader {
	if p == nil {
		return io.NewSectionReader(nil, 0, 0)
	}
	return io.NewSectionReader(p.file, 0, p.size)
}

// Tee passes the whole blob through, from its first byte on, and keeps what is
// not kept yet.
func (p *Partial) Tee(r io.Reader) io.Reader {
	if p == nil {
		return r
	}
	return &tee{r: r, p: p}
}

// tee is a reader whose bytes a Partial keeps.
type tee struct {
	r  io.Reader
	p  *Partial
	at int64
}

// Read implements io.Reader.
func (t *tee) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	t.p.keep(b[:n], t.at)
	t.at += int64(n)
	return n, err
}

// keep appends what of b, which stands at a place of the blob, is not there.
func (p *Partial) keep(b []byte, at int64) {
	if have := p.end - at; have > 0 {
		b = b[min(have, int64(len(b))):]
	}
	if p.file == nil || len(b) == 0 {
		return
	}
	n, err := p.d.ops.write(p.fd, p.dir.join(p.name), b)
	p.end += int64(n)
	if err != nil {
		p.d.opts.Log("stop keeping the download for a later run: %v", err)
		p.Drop()
	}
}

// Drop removes what is kept: it turned out to be wrong, or nobody needs it.
func (p *Partial) Drop() {
	if p == nil || p.file == nil {
		return
	}
	if err := p.d.ops.unlink(p.dir, p.name); err != nil && !isMissing(err) {
		p.d.opts.Log("cannot remove a partial download: %v", err)
	}
	p.release()
}

// Close leaves what is kept to the next run, unless Commit has removed it. It
// may be called again, and after Drop.
func (p *Partial) Close() error {
	if p != nil && p.d != nil && p.end == 0 {
		p.Drop()
	}
	if p != nil {
		p.release()
	}
	return nil
}

func (p *Partial) release() {
	if p.d == nil {
		return
	}
	if p.file != nil {
		_ = p.file.Close()
		p.file = nil
	}
	p.dir.close()
	p.d.vacate(p.name)
	p.d = nil
}
