package mirror

import (
	"errors"
	"fmt"
)

// LockedError says that another run fills the mirror.
type LockedError struct{ Dir string }

// Error names the directory.
func (e *LockedError) Error() string {
	return fmt.Sprintf("mirror %q is locked by another run", e.Dir)
}

// ExitCode is 75, the code for "try again later".
func (e *LockedError) ExitCode() int { return 75 }

// Hint says what to do about it.
func (e *LockedError) Hint() string {
	return "wait for the other run to end; the lock goes away with its process"
}

// Error sums up a run in which references, or directories of boot files, failed.
type Error struct {
	Failures []Failure
	Total    int // references
}

// Error counts where there are several references: then each failure was told of
// when it happened.
func (e *Error) Error() string {
	if len(e.Failures) == 1 && e.Total == 1 {
		return fmt.Sprintf("%s: %v", e.Failures[0].Reference, e.Failures[0].err)
	}
	return fmt.Sprintf("%d failed in a run over %d references", len(e.Failures), e.Total)
}

// ExitCode is that of the failures if they all ask for the same, else 1.
func (e *Error) ExitCode() int {
	code := exitCode(e.Failures[0].err)
	for _, f := range e.Failures[1:] {
		if exitCode(f.err) != code {
			return 1
		}
	}
	return code
}

// Unwrap gives what failed.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, f := range e.Failures {
		errs = append(errs, f.err)
	}
	return errs
}

// Hint is the first advice that a failure has.
func (e *Error) Hint() string {
	for _, f := range e.Failures {
		var hinter interface{ Hint() string }
		if errors.As(f.err, &hinter) && hinter.Hint() != "" {
			return hinter.Hint()
		}
	}
	return ""
}

func exitCode(err error) int {
	var coder interface{ ExitCode() int }
	if errors.As(err, &coder) {
		return coder.ExitCode()
	}
	return 1
}

// usageError is a mistake in what the caller asked for.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

// retentionError says that nothing was removed, because too much would be.
type retentionError struct {
	left, total int
	share       int // percent
}

func (e *retentionError) Error() string {
	return fmt.Sprintf("%d of the %d tags of the mirror are not named any more, more than %d%%, so nothing is removed", e.left, e.total, e.share)
}

func (e *retentionError) Hint() string {
	return "if they are to go, run again with --force; the list of references may have lost its lines"
}
