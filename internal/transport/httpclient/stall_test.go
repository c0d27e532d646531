package httpclient

import (
	"io"
	"testing"
	"time"
)

// readFunc is a stream.
type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestSlowSourceIsNoStall: while an upload waits for what it is to send, which
// may come from a network of its own, nobody counts the time.
func TestSlowSourceIsNoStall(t *testing.T) {
	w := &watchdog{limit: time.Hour, cancel: func(error) { t.Error("stalled") }}
	w.timer = time.AfterFunc(w.limit, func() { w.cancel(ErrStalled) })
	defer w.timer.Stop()
	source := readFunc(func(p []byte) (int, error) {
		if w.timer.Stop() {
			t.Error("the watchdog ran while the source was read")
		}
		return len(p), nil
	})
	up := &watchedUpload{io.NopCloser(source), w}
	for range 3 {
		if _, err := up.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		if !w.timer.Reset(w.limit) {
			t.Error("the watchdog did not run while the registry was sent to")
		}
	}
}
