//go:build linux

package bootdir

import (
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// leftoverMin is the size of a staged file, in bytes, from which on it is kept
// when its run is cut off. Less is fetched again in no more time than one
// request takes.
const leftoverMin = 64 << 10

// Leftover is a file that a run which was cut off has staged for the same path
// of the same live tree: the beginning of it, or all. It may be of another
// version of that file, and it is proved by nothing; it is a place to look for
// chunks in, whose digests are compared as they are copied.
type Leftover struct {
	d    *Dir
	name string
	file *os.File
	size int64
}

// Leftover opens what is left of an earlier attempt at a path, nil when there
// is nothing. Close it before the next use of the path.
func (s *Stage) Leftover(p string) *Leftover {
	dir, err := s.d.stateDir(partialName, false)
	if err != nil {
		return nil
	}
	defer dir.close()
	name := leftoverName(liveKey(s.live), p)
	if !s.d.occupy(name) {
		return nil
	}
	file, st, err := openOwn(dir, name, unix.O_RDONLY)
	if err != nil {
		s.d.vacate(name)
		return nil
	}
	return &Leftover{s.d, name, file, st.Size}
}

// Size gives the number of bytes that can be read.
func (l *Leftover) Size() int64 { return l.size }

// ReadAt implements io.ReaderAt.
func (l *Leftover) ReadAt(b []byte, off int64) (int, error) { return l.file.ReadAt(b, off) }

// Close implements io.Closer. The file stays until Commit.
func (l *Leftover) Close() error {
	l.d.vacate(l.name)
	return l.file.Close()
}

// HasLeftovers tells whether a run for the same live path was cut off and has
// left files: then Reuse may have what no record knows.
func (s *Stage) HasLeftovers() bool {
	names, err := s.d.partialNames()
	if err != nil {
		return false
	}
	prefix := leftoverPrefix(liveKey(s.live))
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// reuseLeftover takes a finished file that an earlier attempt has staged at
// this path. It is moved, not linked, so that it never has two owners.
func (s *Stage) reuseLeftover(p, sha256 string, size int64) (bool, error) {
	return s.takeLeftover(p, size, func(fd int, shown string) (bool, error) {
		if got, err := hashFD(fd, shown); err != nil || got != sha256 {
			return false, nil
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return false, err
		}
		s.finished(p, stagedFile{sha256: sha256, size: st.Size, fresh: true})
		return true, nil
	})
}

// takeLeftover moves a finished file of an earlier attempt at this path into the
// stage if accept says so, which gets it as it lies on the disk. One that is not
// accepted goes, since it is in the way of a better one.
func (s *Stage) takeLeftover(p string, size int64, accept func(fd int, shown string) (bool, error)) (bool, error) {
	dir, err := s.d.stateDir(partialName, false)
	if err != nil {
		return false, nil
	}
	defer dir.close()
	name := leftoverName(liveKey(s.live), p)
	file, st, err := openOwn(dir, name, unix.O_RDONLY)
	if err != nil {
		return false, nil
	}
	defer file.Close()
	if perm(st) != fileMode || size >= 0 && st.Size != size {
		return false, nil // torn, or of another version
	}
	// It was perhaps never brought to the disk: no other proof counts.
	shown := dir.join(name)
	fd := int(file.Fd())
	err = s.d.ops.fsync(fd, shown)
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
	if err != nil {
		_ = s.d.ops.unlink(dir, name)
		return false, nil
	}
	if ok, err := accept(fd, shown); !ok || err != nil {
		_ = s.d.ops.unlink(dir, name)
		return false, err
	}
	if err := s.adopt(dir, name, st, p); err != nil {
		return false, err
	}
	return true, s.d.ops.fsync(fd, s.gen.join(p))
}

// adopt moves a proved file into the stage, younger than what it replaces.
func (s *Stage) adopt(dir *dirFD, name string, st *unix.Stat_t, p string) error {
	up, base, err := s.place(p)
	if err != nil {
		return err
	}
	defer up.close()
	bump, err := s.goesBack(st, p)
	if err != nil {
		return err
	}
	if err := s.d.ops.renameNew(dir, name, up, base); err != nil || bump == nil {
		return err
	}
	return s.d.ops.setMtime(up, base, *bump)
}

// Suspend ends the stage as Discard does, but leaves what it holds to the next
// run for the same live path: files that are complete, and the torn ones of
// File.Suspend. It is for runs that are interrupted; what an image brought
// that was refused is discarded.
func (s *Stage) Suspend() {
	if s.dir != nil && !s.keep {
		s.d.salvage(s.id)
	}
	s.close()
}

// Suspend ends the writing of a file and leaves its beginning in the stage, for
// Stage.Suspend to keep. After Close or Abort it does nothing.
func (f *File) Suspend() {
	if f.fd < 0 {
		return
	}
	_ = f.flush() // what there is
	f.stop()
	f.cutReserve()
	_ = unix.Close(f.fd)
	f.up.close()
	f.fd = -1
}

// salvage removes a stage, but moves the files of its generation to where the
// next run finds them. What fails is left out: it will be fetched again.
func (d *Dir) salvage(id string) {
	if err := d.salvageFiles(id); err != nil && !isMissing(err) {
		d.opts.Log("cannot keep what an interrupted run has staged: %v", err)
	}
	if err := d.removeStage(id); err != nil {
		d.opts.Log("cannot remove what an earlier run left: %v", err)
	}
}

func (d *Dir) salvageFiles(id string) error {
	stages, err := d.stateDir(stageName, false)
	if err != nil {
		return err
	}
	defer stages.close()
	stage, err := stages.open(id)
	if err != nil {
		return err
	}
	defer stage.close()
	// Its names are links of the same files.
	names, err := stage.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == stagedGeneration {
			continue
		}
		if err := d.removeAll(stage, name); err != nil {
			return err
		}
	}
	gen, err := stage.open(stagedGeneration)
	if err != nil {
		return err
	}
	defer gen.close()
	s := &salvager{d: d, key: id[:liveKeyLen], names: map[uint64]uint64{}}
	if err := s.walk(gen, ".", s.count); err != nil {
		return err
	}
	if s.to, err = d.stateDir(partialName, true); err != nil {
		return err
	}
	defer s.to.close()
	return s.walk(gen, ".", s.move)
}

// salvager moves the files of one stage.
type salvager struct {
	d     *Dir
	key   string
	names map[uint64]uint64 // inode → its names in the stage
	to    *dirFD
}

// walk calls f for the regular files below a directory.
func (s *salvager) walk(dir *dirFD, rel string, f func(dir *dirFD, name, rel string, st *unix.Stat_t) error) error {
	names, err := dir.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := dir.stat(name)
		if err != nil {
			return err
		}
		at := path.Join(rel, name)
		switch {
		case isDir(st):
			sub, oerr := dir.open(name)
			if oerr != nil {
				return oerr
			}
			err = s.walk(sub, at, f)
			sub.close()
		case isType(st, unix.S_IFREG) && st.Size >= s.d.opts.atLeast(leftoverMin):
			err = f(dir, name, at, st)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *salvager) count(_ *dirFD, _, _ string, st *unix.Stat_t) error {
	s.names[st.Ino]++
	return nil
}

// move keeps a file unless it has names elsewhere, which is what Reuse made of
// a file of a live tree, or what is kept already is better.
func (s *salvager) move(dir *dirFD, name, rel string, st *unix.Stat_t) error {
	if uint64(st.Nlink) != s.names[st.Ino] {
		return nil
	}
	if perm(st) != fileMode {
		s.d.cutTorn(dir, name, st)
		if st.Size < s.d.opts.atLeast(leftoverMin) {
			return nil
		}
	}
	to := leftoverName(s.key, rel)
	if old, err := s.to.stat(to); err == nil && perm(st) != fileMode && (perm(old) == fileMode || old.Size > st.Size) {
		return nil
	}
	return s.d.ops.rename(dir, name, s.to, to)
}
