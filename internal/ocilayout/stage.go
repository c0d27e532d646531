package ocilayout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// StagePrefix begins the names of stages. Stages of runs that were killed are
// found by it.
const StagePrefix = ".nbpack-stage-"

// StageDir is a hidden directory, mode 0700, for what is not published yet.
//
// Those who list or change a layout overlook it, so it may lie in the layout itself,
// or beside it.
type StageDir struct {
	Path string   // where it lies
	lock *os.File // held: tells the stage from a leftover
}

// NewStageDir makes one in parent, and removes those that runs left there which were
// killed. log hears of them, and of what kept one from being removed.
func NewStageDir(parent string, log func(format string, a ...any)) (*StageDir, error) {
	sweepStages(parent, log)
	dir, err := os.MkdirTemp(parent, StagePrefix+"*")
	if err != nil {
		return nil, err
	}
	s := &StageDir{Path: dir}
	if s.lock, err = os.Open(dir); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	if ok, err := tryLock(s.lock); err != nil {
		log("%v", err) // a file system without locks: then nobody sweeps either
	} else if !ok {
		return nil, errors.Join(fmt.Errorf("stage %q is locked by another process", dir), s.Remove())
	}
	return s, nil
}

// Remove removes the directory with all that is in it. It may be called more
// than once.
func (s *StageDir) Remove() error {
	err := os.RemoveAll(s.Path)
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

// staleAfter is how old an unlocked stage must be to count as a leftover. It
// only covers the moment between the creation of a stage and its lock.
const staleAfter = time.Hour

// sweepStages removes stages of runs that were killed. Failures only get
// logged: they are not the concern of the image that is being built.
func sweepStages(parent string, log func(string, ...any)) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), StagePrefix) {
			if err := sweepStage(filepath.Join(parent, e.Name()), log); err != nil {
				log("leftover stage: %v", err)
			}
		}
	}
}

func sweepStage(dir string, log func(string, ...any)) error {
	f, err := os.OpenFile(dir, os.O_RDONLY|openFlags, 0)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.IsDir() || !ownedByUs(st) || time.Since(st.ModTime()) < staleAfter {
		return nil
	}
	if ok, err := tryLock(f); err != nil || !ok {
		return err
	}
	now, err := os.Lstat(dir)
	if err != nil || !os.SameFile(st, now) {
		return errors.Join(err)
	}
	log("removing %q, which a run that was killed left behind", dir)
	return os.RemoveAll(dir)
}
