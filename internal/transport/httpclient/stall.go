package httpclient

import (
	"context"
	"errors"
	"io"
	"time"
)

// ErrStalled says that nothing came for too long, or next to nothing. It counts as
// a broken connection.
var ErrStalled = errors.New("the registry sent nothing for too long")

// defaultStall is how long a host may be silent.
const defaultStall = 60 * time.Second

// trickle is how many bytes have to come in the time that a registry may be silent
// for: with the usual 60 seconds a modem's rate. A byte now and then would keep a run,
// and the lock that it holds, for years.
const trickle = 64 << 10

// uploadPatience is how much longer than usual a registry may think about an
// upload after its last byte: some copy it to other storage first.
const uploadPatience = 10

// mirrorStall is how long who is asked in place of the registry may send nothing.
const mirrorStall = 20 * time.Second

// watchdog ends a request in which nothing moves. It only runs while somebody
// waits for the network, so a slow consumer is no stall.
type watchdog struct {
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

type watchedUpload struct {
	io.ReadCloser
	w *watchdog
}

// Read implements io.Reader. What is sent may itself come from a network that
// is watched on its own, so the wait for it does not count here.
func (u *watchedUpload) Read(p []byte) (int, error) {
	u.w.timer.Stop()
	n, err := u.ReadCloser.Read(p)
	if err == nil {
		u.w.timer.Reset(u.w.limit)
	} else {
		u.w.timer.Reset(uploadPatience * u.w.limit)
	}
	return n, err
}

type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	w      *watchdog
	waited time.Duration // in reads, since it was last looked whether enough comes
	came   int           // bytes since then
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.w.timer.Reset(b.w.limit)
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.w.timer.Stop()
	b.came += n
	if b.waited += time.Since(began); b.waited >= b.w.limit {
		if err == nil && b.came < trickle {
			b.w.cancel(ErrStalled)
			err = ErrStalled
		}
		b.waited, b.came = 0, 0
	}
	if err != nil && err != io.EOF && errors.Is(context.Cause(b.ctx), ErrStalled) {
		err = ErrStalled
	}
	return n, err
}

// Close implements io.Closer.
func (b *watchedBody) Close() error {
	b.w.timer.Stop()
	err := b.ReadCloser.Close()
	b.w.cancel(nil)
	return err
}
