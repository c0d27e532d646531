package ocilayout

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/nbpack/nbpack/internal/durable"
)

// Lock is the lock of a layout's directory, under which its index.json is edited.
type Lock struct {
	dir  string
	f    *os.File
	undo func() // removes what was made for the lock; nil if nothing was
}

// Acquire takes the lock of a layout and waits for it, until ctx ends. A layout that
// does not exist yet begins as an empty directory, because there must be something to
// lock. If it is still empty in the end, it goes away again.
func Acquire(ctx context.Context, dir string) (*Lock, error) {
	for {
		l := &Lock{dir: dir}
		if err := l.make(); err != nil {
			return nil, err
		}
		var err error
		if l.f, err = lockDir(ctx, dir); err == nil && l.Valid() {
			return l, nil
		}
		if err == nil {
			// Meanwhile somebody else removed or replaced the directory.
			err = errors.Join(l.f.Close(), ctx.Err())
		} else if isNotExist(err) && !isSymlink(dir) {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
	}
}

// make creates the directory if need be.
func (l *Lock) make() error {
	if _, err := os.Lstat(l.dir); !isNotExist(err) {
		return err
	}
	parents, err := durable.MakeParents(l.dir)
	if err != nil {
		return err
	}
	if err := os.Mkdir(l.dir, 0o777); err == nil {
		l.undo = func() { _ = os.Remove(l.dir); parents() }
	} else if !errors.Is(err, os.ErrExist) && !isNotExist(err) {
		parents()
		return fmt.Errorf("create directory: %w", err)
	}
	return nil // if somebody else was faster, in making or removing: lock what is there
}

// Valid reports whether the lock is that of the directory which has its name now.
// Tools that ask for no locks may put another one there.
func (l *Lock) Valid() bool {
	was, err1 := l.f.Stat()
	is, err2 := os.Stat(l.dir)
	return err1 == nil && err2 == nil && os.SameFile(was, is)
}

// Made tells whether there was no layout, so that its directory was made for the lock.
// It may still go away.
func (l *Lock) Made() bool { return l.undo != nil }

// Release gives the lock back. What was made for it is removed before, while
// nobody else can have begun to use it; a directory with content stays.
func (l *Lock) Release() {
	if l.undo != nil && l.Valid() {
		l.undo()
	}
	_ = l.f.Close()
}

func isSymlink(name string) bool {
	st, err := os.Lstat(name)
	return err == nil && st.Mode().Type() == os.ModeSymlink
}
