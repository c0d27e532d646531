//go:build linux

package bootdir

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// Stage is one generation in the making. Nothing of it is visible before
// Commit. Its methods may be called from several goroutines, Commit and
// Discard when these are done.
type Stage struct {
	d    *Dir
	live string
	id   string
	dir  *dirFD // .nbextract/stage/<id>
	gen  *dirFD // .nbextract/stage/<id>/gen
	old  *dirFD // where the managed files of the present tree lie; nil when there is none

	mu      sync.Mutex
	dirs    map[string]bool
	files   map[string]stagedFile // finished ones, by path
	content map[string]string     // sha256 to the path of a finished file
	links   map[string]string
	loose   map[string]stagedFile // by path: see Borrow
	attrs   *Attributes           // see Wear; nil for the usual ones
	label   string                // whole SELinux context of attrs

	keep bool // the journal names this stage: only recovery may remove it
}

// stagedFile is what is known about a finished file of the stage.
type stagedFile struct {
	sha256 string
	size   int64
	fresh  bool // written by this stage: its inode is visible nowhere yet
}

// Begin starts a new generation for a live path. A commit that could not be
// finished earlier in this run is finished first.
func (d *Dir) Begin(ctx context.Context, live string) (*Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := d.needLock(); err != nil {
		return nil, err
	}
	if d.pending {
		if err := d.recover(); err != nil {
			return nil, fmt.Errorf("finish the earlier commit in %q: %w", d.path, err)
		}
	}
	if err := d.CheckLive(live); err != nil {
		return nil, err
	}
	s := &Stage{d: d, live: live, dirs: map[string]bool{".": true}, files: map[string]stagedFile{},
		content: map[string]string{}, links: map[string]string{}, loose: map[string]stagedFile{}}
	if err := s.make(); err != nil {
		s.Discard()
		return nil, fmt.Errorf("make a stage in %q: %w", d.path, err)
	}
	return s, nil
}

func (s *Stage) make() error {
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	// The name says for which live path, should this run be cut off.
	s.id = liveKey(s.live) + hex.EncodeToString(random)
	stages, err := s.d.stateDir(stageName, true)
	if err != nil {
		return err
	}
	defer stages.close()
	if err := s.d.ops.mkdir(stages, s.id, 0o700); err != nil {
		return err
	}
	if s.dir, err = stages.open(s.id); err != nil {
		return err
	}
	if err := s.d.ops.mkdir(s.dir, stagedGeneration, 0o755); err != nil {
		return err
	}
	if s.gen, err = s.dir.open(stagedGeneration); err != nil {
		return err
	}
	s.old, err = s.d.openManaged(s.live)
	return err
}

// openManaged opens the directory in which the managed files of a live tree
// lie: the live directory itself, or the generation that a live link of ours
// names. It gives nil when there is neither.
func (d *Dir) openManaged(live string) (*dirFD, error) {
	if live == FlatLive {
		return d.root.open(".")
	}
	st, err := d.root.statPath(live)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch {
	case isDir(st):
		return d.root.open(live)
	case isType(st, unix.S_IFLNK):
		hex, err := d.linkedGeneration(live)
		if err != nil || hex == "" {
			return nil, err
		}
		gen, err := d.root.open(path.Join(generationsName, hex))
		if isMissing(err) {
			return nil, nil
		}
		return gen, err
	}
	return nil, nil
}

// ensureDir makes a directory of the generation and those above it.
func (s *Stage) ensureDir(rel string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ensureDirLocked(rel)
}

func (s *Stage) ensureDirLocked(rel string) error {
	if s.dirs[rel] {
		return nil
	}
	if err := s.ensureDirLocked(path.Dir(rel)); err != nil {
		return err
	}
	up, name, err := s.gen.parent(rel)
	if err != nil {
		return err
	}
	defer up.close()
	if err := s.d.ops.mkdir(up, name, 0o755); err != nil {
		return err
	}
	s.dirs[rel] = true
	return nil
}

// Mkdir makes a directory of the tree, with those above it; one that is there
// already is fine.
func (s *Stage) Mkdir(p string) error {
	if p == "." {
		return nil
	}
	if err := spec.CheckPath(p); err != nil {
		return err
	}
	return s.ensureDir(p)
}

// Symlink makes a symbolic link of the tree. The target must be relative and
// lead to somewhere inside.
func (s *Stage) Symlink(p, target string) error {
	if err := spec.CheckPath(p); err != nil {
		return err
	}
	if err := spec.CheckLink(p, target); err != nil {
		return err
	}
	up, name, err := s.place(p)
	if err != nil {
		return err
	}
	defer up.close()
	if err := s.d.ops.symlink(target, up, name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[p] = target
	return nil
}

// place opens the directory that is to hold p, made when missing.
func (s *Stage) place(p string) (*dirFD, string, error) {
	if err := spec.CheckPath(p); err != nil {
		return nil, "", err
	}
	if err := s.ensureDir(path.Dir(p)); err != nil {
		return nil, "", err
	}
	return s.gen.parent(p)
}

// finished notes a file whose content is proved.
func (s *Stage) finished(p string, f stagedFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[p] = f
	if _, ok := s.content[f.sha256]; !ok {
		s.content[f.sha256] = p
	}
}

// finishedCopy finds a finished file with this content.
func (s *Stage) finishedCopy(sha256 string) (string, stagedFile, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.content[sha256]
	return p, s.files[p], ok
}

// Discard removes the stage. After a successful Commit it does nothing; it may
// be deferred. What it cannot remove the next Open will.
func (s *Stage) Discard() {
	if s.dir != nil && !s.keep {
		_ = s.d.removeStage(s.id)
	}
	s.close()
}

func (s *Stage) close() {
	s.dir.close()
	s.gen.close()
	s.old.close()
	s.dir, s.gen, s.old = nil, nil, nil
}

// removeStage removes one stage with everything in it.
func (d *Dir) removeStage(id string) error {
	stages, err := d.stateDir(stageName, false)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer stages.close()
	if err := d.removeAll(stages, id); err != nil && !isMissing(err) {
		return err
	}
	return nil
}
