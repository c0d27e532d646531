//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// contentIndex tells for a sha256 where the records say that it lies: paths
// below the boot directory.
type contentIndex map[string][]string

// index reads all records once.
func (d *Dir) index() (contentIndex, error) {
	if d.contents != nil {
		return d.contents, nil
	}
	trees, err := d.Trees()
	if err != nil {
		return nil, err
	}
	index := contentIndex{}
	for i := range trees {
		if err := d.indexTree(index, &trees[i]); err != nil {
			return nil, err
		}
	}
	d.contents = index
	return index, nil
}

// indexTree adds the places of one tree: its generations, and the live files.
func (d *Dir) indexTree(index contentIndex, t *Tree) error {
	for _, g := range t.History {
		img, err := d.Image(g.Digest)
		if err != nil {
			return err
		}
		if img == nil {
			continue
		}
		hex, err := digestHex(g.Digest)
		if err != nil {
			return err
		}
		add := func(root string, entries []spec.Entry) {
			for _, e := range entries {
				if e.Type == spec.TypeFile {
					index[e.SHA256] = append(index[e.SHA256], path.Join(root, e.Path))
				}
			}
		}
		add(path.Join(generationsName, hex), img.Entries)
		if g.Digest == t.Digest && t.Mode == ModeDir {
			add(t.Live, t.Shown(img))
			add(".", t.Beside())
		}
	}
	return nil
}

// Holds tells whether a recorded file claims to have this content. Nothing is
// hashed: Reuse does that.
func (d *Dir) Holds(sha256 string) bool {
	if d.state == nil {
		return false
	}
	index, err := d.index()
	return err == nil && len(index[sha256]) > 0
}

// Reuse makes path in the stage from a copy of this content that is on disk
// already: the file that is live at that path, then one staged before, then
// any recorded one, then one that an interrupted run has staged at that path. A
// copy from outside the stage is hashed again before it counts. It is linked
// when owner, mode and time fit, else copied. size is -1 when unknown. It gives
// false when there is no good copy.
func (s *Stage) Reuse(p, sha256 string, size int64) (bool, error) {
	if err := spec.CheckPath(p); err != nil {
		return false, err
	}
	if !isSHA256(sha256) {
		return false, fmt.Errorf("reuse %q: %q is no sha256", p, sha256)
	}
	if s.old != nil {
		if done, err := s.reuseFrom(s.old, p, p, sha256, size); done || err != nil {
			return done, err
		}
	}
	if staged, f, ok := s.finishedCopy(sha256); ok && (size < 0 || f.size == size) {
		return true, s.Link(p, staged)
	}
	s.mu.Lock()
	index, err := s.d.index()
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	for _, place := range index[sha256] {
		if done, err := s.reuseFrom(s.d.root, place, p, sha256, size); done || err != nil {
			return done, err
		}
	}
	return s.reuseLeftover(p, sha256, size)
}

// Link makes path a file with the content of another that is finished in this
// stage.
func (s *Stage) Link(p, staged string) error {
	s.mu.Lock()
	f, ok := s.files[staged]
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("link %q: %q is not finished in this stage", p, staged)
	}
	from, name, err := s.gen.parent(staged)
	if err != nil {
		return err
	}
	defer from.close()
	fd, st, err := from.openFile(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return s.take(&source{from, name, fd, st, f.fresh, true}, p, f.sha256)
}

// Remove takes a finished file out of the stage again.
func (s *Stage) Remove(p string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.files[p]
	if !ok {
		return fmt.Errorf("remove %q: it is not finished in this stage", p)
	}
	up, name, err := s.gen.parent(p)
	if err != nil {
		return err
	}
	defer up.close()
	if err := s.d.ops.unlink(up, name); err != nil {
		return err
	}
	delete(s.files, p)
	if s.content[f.sha256] == p {
		delete(s.content, f.sha256)
	}
	return nil
}

// source is an open file of which another name or a copy is wanted.
type source struct {
	dir   *dirFD
	name  string
	fd    int
	st    *unix.Stat_t
	fresh bool // its time may be changed: nobody sees it yet
	ours  bool // it is in this stage, and gets its attributes with it
}

// reuseFrom tries one place. What is wrong with the place (missing, a link,
// other content) is no error: there may be another.
func (s *Stage) reuseFrom(root *dirFD, place, p, sha256 string, size int64) (bool, error) {
	from, name, err := root.parent(place)
	if err != nil {
		return false, nil
	}
	defer from.close()
	fd, st, err := from.openFile(name)
	if err != nil {
		return false, nil
	}
	defer unix.Close(fd)
	if size >= 0 && st.Size != size {
		return false, nil
	}
	if got, err := hashFD(fd, from.join(name)); err != nil || got != sha256 {
		return false, nil
	}
	// A generation's file that is in no live tree may get a new time.
	hidden := root == s.d.root && st.Nlink == 1 && isGenerationPath(place)
	return true, s.take(&source{from, name, fd, st, hidden, false}, p, sha256)
}

func isGenerationPath(place string) bool {
	return len(place) > len(generationsName) && place[:len(generationsName)+1] == generationsName+"/"
}

// take puts a proved file at p: linked if it may be, else copied.
func (s *Stage) take(src *source, p, sha256 string) error {
	linked, err := s.link(src, p)
	if err != nil {
		return err
	}
	if linked {
		s.finished(p, stagedFile{sha256: sha256, size: src.st.Size, fresh: src.fresh})
		return nil
	}
	f, err := s.copyOf(src, p)
	if err != nil {
		return err
	}
	return f.Close(sha256)
}

// link links the very inode that was opened. It gives false when a copy
// is needed: wrong mode or owner, a time that would go back for this path, or
// a file system that makes no more links.
func (s *Stage) link(src *source, p string) (bool, error) {
	if !src.ours && !s.fits(src.dir, src.name, src.st) {
		return false, nil
	}
	bump, err := s.goesBack(src.st, p)
	if err != nil || bump != nil && !src.fresh {
		return false, err
	}
	up, name, err := s.place(p)
	if err != nil {
		return false, err
	}
	defer up.close()
	if err := s.d.ops.link(src.dir, src.name, up, name); err != nil {
		if cannotLink(err) || isMissing(err) {
			return false, nil
		}
		return false, err
	}
	st, err := up.stat(name)
	if err == nil && !sameInode(st, src.st) {
		return false, s.d.ops.unlink(up, name) // replaced since it was opened
	}
	if err == nil && bump != nil {
		err = s.d.ops.setMtime(up, name, *bump)
	}
	if err == nil {
		err = s.d.ops.fsync(src.fd, up.join(name))
	}
	return err == nil, err
}

// goesBack gives the time that a reused inode must get, so that what appears
// at p is younger than what was there; nil when it may stay as it is.
func (s *Stage) goesBack(st *unix.Stat_t, p string) (*unix.Timespec, error) {
	old, err := s.replaced(p)
	if err != nil || old == nil || sameInode(old, st) || st.Mtim.Nano() >= old.Mtim.Nano()+1e9 {
		return nil, err
	}
	mtime, err := s.newTime(p)
	return &mtime, err
}

// cannotLink tells whether an error of link(2) means that a copy may do.
func cannotLink(err error) bool {
	for _, e := range []error{unix.EMLINK, unix.EPERM, unix.EACCES, unix.ENOTSUP, unix.ENOSYS, unix.EXDEV} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// copyOf writes a new file at p with the content of a source; it is not closed.
func (s *Stage) copyOf(src *source, p string) (*File, error) {
	if _, err := unix.Seek(src.fd, 0, io.SeekStart); err != nil {
		return nil, &os.PathError{Op: "seek", Path: src.dir.join(src.name), Err: err}
	}
	f, err := s.Create(p, src.st.Size)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, &fdReader{src.fd, src.dir.join(src.name)}); err != nil {
		f.Abort()
		return nil, err
	}
	return f, nil
}
