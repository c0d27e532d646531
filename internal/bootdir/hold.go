//go:build linux

package bootdir

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Hold keeps the generation with this digest from being pruned, by this process
// or another, until the handle is closed. It needs no lock on the boot directory,
// only the right to read. The error is fs.ErrNotExist when the generation is
// not there, or is just being removed.
//
// It is a shared flock(2) on the directory of the generation: a server that dies
// leaves nothing behind that would keep it for ever.
func (d *Dir) Hold(digest string) (io.Closer, error) {
	hex, err := digestHex(digest)
	if err != nil {
		return nil, err
	}
	gone := &fs.PathError{Op: "hold", Path: path.Join(generationsName, hex), Err: fs.ErrNotExist}
	if d.root == nil {
		return nil, gone
	}
	f, err := d.flockGeneration(hex, unix.LOCK_SH)
	if err == unix.EWOULDBLOCK {
		return nil, gone // somebody removes it
	}
	if err != nil {
		return nil, fmt.Errorf("hold generation %s: %w", digest, err)
	}
	// It may have been removed between the look and the lock.
	held, err := f.self()
	if err == nil {
		var now *unix.Stat_t
		if now, err = d.root.statPath(gone.Path); err == nil && !sameInode(held, now) {
			err = gone
		}
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return os.NewFile(uintptr(f.fd), f.path), nil
}

// claim takes a generation that is to be removed from those who could begin to
// hold it. It tells false when somebody holds it now. The caller calls release,
// which may be nil.
func (d *Dir) claim(digest string) (release func(), ok bool) {
	hex, err := digestHex(digest)
	if err != nil {
		return nil, true
	}
	f, err := d.flockGeneration(hex, unix.LOCK_EX)
	if err == unix.EWOULDBLOCK {
		return nil, false
	}
	if err != nil {
		return nil, true // not there, or on a file system without locks: nobody holds it
	}
	return f.close, true
}

// claimAlone claims the generations that no other tree has, for a tree that is to
// be removed. It is all of them, or a *HeldError and none. The caller calls
// release.
func (d *Dir) claimAlone(t *Tree) (release func(), err error) {
	trees, err := d.Trees()
	if err != nil {
		return nil, err
	}
	others := map[string]bool{}
	for _, o := range trees {
		for _, g := range o.History {
			others[g.Digest] = others[g.Digest] || o.Live != t.Live
		}
	}
	var claims []func()
	release = func() {
		for _, r := range claims {
			r()
		}
	}
	for _, g := range t.History {
		if others[g.Digest] {
			continue
		}
		r, ok := d.claim(g.Digest)
		if !ok {
			release()
			return nil, &HeldError{t.Live, g.Digest}
		}
		if r != nil {
			claims = append(claims, r)
		}
	}
	return release, nil
}

func (d *Dir) flockGeneration(hex string, how int) (*dirFD, error) {
	f, err := d.root.open(path.Join(generationsName, hex))
	if err != nil {
		return nil, err
	}
	if err := retry(func() error { return unix.Flock(f.fd, how|unix.LOCK_NB) }); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}
