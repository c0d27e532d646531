package extract

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/spec"
)

// FailureKind says in a word what kept a tree from being brought up to date.
type FailureKind string

// The kinds of failures. They are labels of metrics: their number is bounded.
const (
	FailNetwork     FailureKind = "network"     // no answer, or one that may be another next time
	FailAuth        FailureKind = "auth"        // access denied
	FailNotFound    FailureKind = "not-found"   // no such tag, repository or manifest
	FailPlatform    FailureKind = "platform"    // not exactly one image for a platform
	FailRefused     FailureKind = "refused"     // content that is not accepted
	FailConflict    FailureKind = "conflict"    // two images for one path, or one that cannot be used
	FailSpace       FailureKind = "space"       // the disk has no room
	FailVetoed      FailureKind = "vetoed"      // by a pre-commit hook
	FailLocked      FailureKind = "locked"      // another run works on the boot directory
	FailRetention   FailureKind = "retention"   // so much left the catalogue that nothing is removed
	FailInterrupted FailureKind = "interrupted" // by a signal
	FailOther       FailureKind = "failed"
)

// Failure is one reference, or one boot directory, that a run failed with.
// Trees that were there stay as they were.
type Failure struct {
	Kind        FailureKind `json:"kind"`
	Destination string      `json:"destination"`
	Reference   string      `json:"reference,omitempty"`
	Release     string      `json:"release,omitempty"`
	Path        string      `json:"path,omitempty"` // live path, where one is known
	Message     string      `json:"error"`
	Advice      string      `json:"hint,omitempty"`
	// Since is when it failed for the first time in a row.
	Since time.Time `json:"since"`

	code int // exit code that the error asks for
}

// Error tells what failed.
func (f *Failure) Error() string { return f.Message }

// ExitCode is what the error asks for, and 130 where a signal ended the run. That of wrong
// usage is not among them: what was asked for was right, and what it names is not.
func (f *Failure) ExitCode() int { return f.code }

// NewFailure sorts an error by its type; what it is about is for the caller to say. An error
// with a method FailureKind() FailureKind says the kind itself.
func NewFailure(err error) *Failure {
	f := &Failure{Kind: kindOf(err), Message: err.Error(), code: 1}
	var coder interface{ ExitCode() int }
	if errors.As(err, &coder) {
		f.code = coder.ExitCode()
	}
	switch {
	case f.Kind == FailInterrupted:
		f.code = 130
	case f.code == 2:
		f.code = 1 // what was asked for was right; what it names is not
	}
	for e := err; e != nil && f.Advice == ""; {
		var hinter interface {
			error
			Hint() string
		}
		if !errors.As(e, &hinter) {
			break
		}
		f.Advice, e = hinter.Hint(), errors.Unwrap(hinter)
	}
	return f
}

// kindOf looks for the type of an error that says most.
func kindOf(err error) FailureKind {
	var (
		kinded interface {
			error
			FailureKind() FailureKind
		}
		veto     *VetoError
		locked   *bootdir.LockedError
		absent   *transport.NotFoundError
		denied   *transport.AuthError
		platform *resolve.PlatformError
		refusal  *spec.Refusal
		usage    *usageError
		misnamed *resolve.UsageError
		unsigned *trust.UnverifiedError
		rejected *trust.PolicyRejection
	)
	switch {
	case errors.As(err, &kinded):
		return kinded.FailureKind()
	case errors.As(err, &veto):
		return FailVetoed
	case errors.Is(err, context.Canceled):
		return FailInterrupted
	case errors.As(err, &locked):
		return FailLocked
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return FailSpace
	case errors.As(err, &denied):
		return FailAuth
	case errors.As(err, &absent):
		return FailNotFound
	case errors.As(err, &platform):
		return FailPlatform
	case errors.As(err, &refusal) && refusal.Rule == "live-path", errors.As(err, &usage), errors.As(err, &misnamed):
		return FailConflict
	case errors.As(err, &refusal), errors.As(err, &unsigned), errors.As(err, &rejected):
		return FailRefused
	case transport.Unreachable(err):
		return FailNetwork
	}
	return FailOther
}
