package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The exit codes of both commands. Other packages do not import these: an error
// names its code by an ExitCode() int method.
const (
	ExitDone        = 0   // done, or nothing to do
	ExitFailed      = 1   // failed
	ExitUsage       = 2   // the command line is wrong
	ExitRefused     = 3   // content refused: digest, checksum, format, signature
	ExitNotFound    = 4   // no such image, tag, file, directory or platform
	ExitLocked      = 75  // another run holds the lock
	ExitInterrupted = 130 // stopped by a signal
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
func (e *usageError) ExitCode() int { return ExitUsage }

// Usage returns an error that ends the command with exit code 2. Format and
// arguments are those of fmt.Errorf, so %w wraps.
func Usage(format string, a ...any) error {
	return &usageError{err: fmt.Errorf(format, a...)}
}

// hintError adds advice to an error without changing its message.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }
func (e *hintError) Hint() string  { return e.hint }

// WithHint attaches one line of advice to err, printed after the error. A nil
// err stays nil.
func WithHint(err error, hint string) error {
	if err == nil {
		return nil
	}
	return &hintError{err: err, hint: hint}
}

// ExitCode tells with which code a command ends that failed with err: 0 for nil,
// what the first error of the chain with an ExitCode method says, 130 for a
// cancelled context, 4 for a file or directory that does not exist, else 1. That a
// file is missing has one code here, whichever flag or argument names it.
func ExitCode(err error) int {
	var coder interface{ ExitCode() int }
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &coder):
		return coder.ExitCode()
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, fs.ErrNotExist):
		return ExitNotFound
	default:
		return ExitFailed
	}
}

// Hint returns the advice that err carries, or "". Of several the outermost
// wins; an error whose advice is empty does not hide one further in. Without any,
// who has no right to a file is told who has.
func Hint(err error) string {
	if h := carried(err); h != "" {
		return h
	}
	return rightsHint(err, os.Geteuid())
}

// rightsHint is the advice for a user who has no right to a file. Where root has
// none there is another reason.
func rightsHint(err error, user int) string {
	var file *fs.PathError
	if user == 0 || !errors.Is(err, fs.ErrPermission) || !errors.As(err, &file) {
		return ""
	}
	return fmt.Sprintf("user %d has no right to that; run this as the user who has: for a boot directory or a mirror, the one whose runs fill it", user)
}

// carried is the advice of err itself.
func carried(err error) string {
	for err != nil {
		var hinter interface {
			error
			Hint() string
		}
		if !errors.As(err, &hinter) {
			return ""
		}
		if h := hinter.Hint(); h != "" {
			return h
		}
		err = errors.Unwrap(hinter)
	}
	return ""
}
