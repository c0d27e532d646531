package transport

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// stagePrefix begins the names of stages. Stages of runs that were killed are
// found by it.
const stagePrefix = ".nbpack-stage-"

// stageDir is a hidden directory, mode 0700, for what is not published yet.
type stageDir struct {
	c    *Client
	dir  string
	lock *os.File // held: tells the stage from a leftover
}

// newStageDir makes one in parent, and removes leftovers there.
func (c *Client) newStageDir(parent string) (*stageDir, error) {
	c.sweepStages(parent)
	dir, err := os.MkdirTemp(parent, stagePrefix+"*")
	if err != nil {
		return nil, err
	}
	s := &stageDir{c: c, dir: dir}
	if s.lock, err = os.Open(dir); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	if ok, err := tryLock(s.lock); err != nil {
		c.logf("%v", err) // a file system without locks: then nobody sweeps either
	} else if !ok {
		return nil, errors.Join(fmt.Errorf("stage %q is locked by another process", dir), s.remove())
	}
	return s, nil
}

// remove removes the directory with all that is in it. It may be called more
// than once.
func (s *stageDir) remove() error {
	err := os.RemoveAll(s.dir)
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
func (c *Client) sweepStages(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), stagePrefix) {
			if err := c.sweepStage(filepath.Join(parent, e.Name())); err != nil {
				c.logf("leftover stage: %v", err)
			}
		}
	}
}

func (c *Client) sweepStage(dir string) error {
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
	c.logf("removing %q, which a run that was killed left behind", dir)
	return os.RemoveAll(dir)
}
