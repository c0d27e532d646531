//go:build linux

package bootdir

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// A loose file is in the stage without a proof of its content. It is for who
// reads all of a layer's files once more anyway, to prove the layer: to hash
// them here as well would read them twice. Every loose file must be proved
// before Commit, which takes none.

// Borrow makes path a loose file: one that the records, or a run that was cut
// off, say to have this content and that has size bytes. Nothing is read. The
// file that is live at the path comes first, so that it keeps its inode. It
// gives false when there is none.
func (s *Stage) Borrow(p, sha256 string, size int64) (bool, error) {
	if err := spec.CheckPath(p); err != nil {
		return false, err
	}
	if !isSHA256(sha256) {
		return false, fmt.Errorf("borrow %q: %q is no sha256", p, sha256)
	}
	live, err := s.replaced(p)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	index, err := s.d.index()
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	for _, only := range []*unix.Stat_t{live, nil} {
		for _, place := range index[sha256] {
			if done, err := s.borrowFrom(place, p, size, only); done || err != nil {
				return done, err
			}
		}
	}
	return s.borrowLeftover(p, size)
}

// borrowFrom tries one place; with only, no other inode will do. What is wrong
// with the place is no error, as for Reuse.
func (s *Stage) borrowFrom(place, p string, size int64, only *unix.Stat_t) (bool, error) {
	from, name, err := s.d.root.parent(place)
	if err != nil {
		return false, nil
	}
	defer from.close()
	fd, st, err := from.openFile(name)
	if err != nil {
		return false, nil
	}
	defer unix.Close(fd)
	if st.Size != size || only != nil && !sameInode(st, only) {
		return false, nil
	}
	src := &source{from, name, fd, st, st.Nlink == 1 && isGenerationPath(place), false}
	linked, err := s.link(src, p)
	if err != nil {
		return false, err
	}
	if linked {
		s.loosen(p, stagedFile{size: size, fresh: src.fresh})
		return true, nil
	}
	f, err := s.copyOf(src, p)
	if err != nil {
		return false, err
	}
	return true, f.CloseLoose()
}

// borrowLeftover takes what an interrupted run has staged here, if it was
// finished.
func (s *Stage) borrowLeftover(p string, size int64) (bool, error) {
	return s.takeLeftover(p, size, func(fd int, _ string) (bool, error) {
		s.loosen(p, stagedFile{size: size, fresh: true})
		return true, nil
	})
}

// CreateLoose starts a file as Create does, one that CloseLoose will complete.
func (s *Stage) CreateLoose(path string, size int64) (*File, error) {
	f, err := s.Create(path, size)
	if err == nil {
		f.loose = true
	}
	return f, err
}

// CloseLoose completes a file of CreateLoose as Close does, but does not read it
// back: it becomes a loose one. It was dropped from the page cache as far as the kernel
// lets us, so whoever proves it reads the disk.
func (f *File) CloseLoose() error {
	if f.fd < 0 {
		return os.ErrClosed
	}
	err := f.whole()
	f.overtake()
	if err == nil {
		err = f.settle()
	}
	if err != nil {
		f.Abort()
		return err
	}
	f.s.loosen(f.path, stagedFile{size: f.done, fresh: true})
	_ = unix.Close(f.fd)
	f.up.close()
	f.fd = -1
	return nil
}

func (s *Stage) loosen(p string, f stagedFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loose[p] = f
}

// Open reads a file of the stage, be it loose or finished, front to back. What was not
// in the page cache, or nobody can see yet, leaves it again behind the reader.
func (s *Stage) Open(p string) (io.ReadCloser, error) {
	up, name, err := s.gen.parent(p)
	if err != nil {
		return nil, err
	}
	defer up.close()
	fd, _, err := up.openFile(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return newPassing(fd, up.join(name), s.loose[p].fresh || s.files[p].fresh), nil
}

// Prove says that a loose file was read by way of Open, to its end, and had
// this content.
func (s *Stage) Prove(p, sha256 string) error {
	s.mu.Lock()
	f, ok := s.loose[p]
	delete(s.loose, p)
	s.mu.Unlock()
	if !ok || !isSHA256(sha256) {
		return fmt.Errorf("prove %q: it is no loose file, or %q is no sha256", p, sha256)
	}
	f.sha256 = sha256
	s.finished(p, f)
	return nil
}

// Reject takes a loose file whose content is wrong out of the stage.
func (s *Stage) Reject(p string) error {
	s.mu.Lock()
	_, ok := s.loose[p]
	delete(s.loose, p)
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("reject %q: it is no loose file", p)
	}
	up, name, err := s.gen.parent(p)
	if err != nil {
		return err
	}
	defer up.close()
	return s.d.ops.unlink(up, name)
}

// Content opens a file that the records say to have this content, to copy parts
// of it; nil when there is none. Nothing is proved: compare the digest of each
// part. It is for one goroutine.
func (s *Stage) Content(sha256 string) ReadAtCloser {
	s.mu.Lock()
	index, err := s.d.index()
	s.mu.Unlock()
	if err != nil {
		return nil
	}
	for _, place := range index[sha256] {
		from, name, err := s.d.root.parent(place)
		if err != nil {
			continue
		}
		fd, _, err := from.openFile(name)
		shown := from.join(name)
		from.close()
		if err == nil {
			return newPassing(fd, shown, false)
		}
	}
	return nil
}

// TakeLeftover makes path a finished file from what an interrupted run has staged
// there, if that was whole and has this content.
func (s *Stage) TakeLeftover(p, sha256 string) (bool, error) {
	if err := spec.CheckPath(p); err != nil {
		return false, err
	}
	return s.reuseLeftover(p, sha256, -1)
}
