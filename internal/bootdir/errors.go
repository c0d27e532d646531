package bootdir

import (
	"fmt"
)

// LockedError says that another run works on the boot directory.
type LockedError struct{ Dir string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("boot directory %q is locked by another run", e.Dir)
}

// ExitCode is 75, the code for "try again later".
func (e *LockedError) ExitCode() int { return 75 }

// Hint says what to do about it.
func (e *LockedError) Hint() string {
	return "wait for the other run to end; the lock goes away with its process"
}

// hinted carries advice for the user beside an error.
type hinted struct {
	err    error
	advice string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }
func (e *hinted) Hint() string  { return e.advice }

func withHint(err error, advice string) error { return &hinted{err, advice} }

// OccupiedError says that a tree cannot be removed because the site keeps files
// of its own in it.
type OccupiedError struct{ Live, Path string }

// Error names the tree and the first such file.
func (e *OccupiedError) Error() string {
	return fmt.Sprintf("boot tree %q holds %q, which nbextract did not put there", e.Live, e.Path)
}

// Hint says what to do.
func (e *OccupiedError) Hint() string {
	return "move the site's own files away; the tree is removed on a later run"
}

// HeldError says that a tree cannot be removed because somebody holds one of its
// generations: a server from which machines are booting.
type HeldError struct{ Live, Digest string }

// Error names the tree and the generation.
func (e *HeldError) Error() string {
	return fmt.Sprintf("machines are booting from generation %s of boot tree %q", e.Digest, e.Live)
}

// Hint says what to do.
func (e *HeldError) Hint() string {
	return "nothing: the tree is removed on a later run"
}
