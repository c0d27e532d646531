package extract

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/spec"
)

// newFailure sorts an error.
func newFailure(err error) *Failure {
	f := &Failure{Kind: kindOf(err), Message: err.Error(), code: 1}
	var coder interface{ ExitCode() int }
	if errors.As(err, &coder) {
		f.code = coder.ExitCode()
	}
	switch {
	case f.Kind == FailInterrupted:
		f.code = 130
	case f.code == 2:
		f.code = 1 // the catalogue was right; what its references name is not
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
		veto     *VetoError
		locked   *bootdir.LockedError
		absent   *transport.NotFoundError
		denied   *transport.AuthError
		platform *PlatformError
		refusal  *spec.Refusal
		usage    *usageError
		doubt    *retentionError
		unsigned *trust.UnverifiedError
		rejected *trust.PolicyRejection
	)
	switch {
	case errors.As(err, &veto):
		return FailVetoed
	case errors.As(err, &doubt):
		return FailRetention
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
	case errors.As(err, &refusal) && refusal.Rule == "live-path", errors.As(err, &usage):
		return FailConflict
	case errors.As(err, &refusal), errors.As(err, &unsigned), errors.As(err, &rejected):
		return FailRefused
	case transport.Unreachable(err):
		return FailNetwork
	}
	return FailOther
}

// breakerLimit is how many references a registry may fail in a row before the
// others are not tried any more: each of them was retried with patience, and a
// thousand times that would keep a run busy for hours.
const breakerLimit = 3

// breaker knows which registries gave no answer in this run.
type breaker struct {
	mu    sync.Mutex
	fails map[string]int
	last  map[string]error
}

func newBreaker() *breaker {
	return &breaker{fails: map[string]int{}, last: map[string]error{}}
}

// open gives an error where a registry is not to be asked again.
func (b *breaker) open(host string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails[host] < breakerLimit {
		return nil
	}
	return fmt.Errorf("registry %q is not asked any more in this run: %w", host, b.last[host])
}

// note counts how an attempt ended.
func (b *breaker) note(host string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil || !transport.Unreachable(err) {
		b.fails[host] = 0 // it answers
		return
	}
	b.fails[host]++
	b.last[host] = err
}
