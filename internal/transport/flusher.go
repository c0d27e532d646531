package transport

import "os"

// flushStretch is how many bytes of a blob are brought to the disk at once.
const flushStretch = 16 << 20

// flusher brings a large file to the disk while it is being written, one stretch
// behind, and drops it from the page cache: so the sync at the end has little left
// to wait for, and the same memory is used again.
type flusher struct {
	file  *os.File
	ends  chan int64
	ended chan struct{}
}

func newFlusher(f *os.File) *flusher {
	// One stretch may wait: the writer is two ahead at most.
	fl := &flusher{file: f, ends: make(chan int64, 1), ended: make(chan struct{})}
	go func() {
		defer close(fl.ended)
		var done int64
		for end := range fl.ends {
			flushRange(f, done, end-done)
			done = end
		}
	}()
	return fl
}

// stop waits for the last stretch; a flusher that was never started is nil.
func (fl *flusher) stop() {
	if fl != nil {
		close(fl.ends)
		<-fl.ended
	}
}
