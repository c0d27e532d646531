package archive

import (
	"crypto/sha256"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxWorkers bounds the encoders, whose tables take some MiB each.
	maxWorkers = 4
	// maxInFlight bounds the plain bytes of the frames that are on their way, as far
	// as that leaves one frame for each worker.
	maxInFlight = 2 << 20
)

// frameWriter compresses pieces of data into zstd frames of their own, several at
// once, and hands them on in the order in which they came. Which of its encoders
// makes a frame, and when, does not change the frame.
//
// One goroutine calls begin, send and mark; the frames arrive in another, through
// emit. The first error of emit is the last call of it.
type frameWriter struct {
	strong, fast *zstd.Encoder
	emit         func(frameStep) error

	free  chan *frame
	made  int
	limit int
	work  chan *frame
	order chan frameStep

	failed chan struct{} // closed when emit has failed
	err    error         // why; set before failed is closed
	done   chan struct{} // closed when emit will not be called any more
	worker sync.WaitGroup
}

// frame is a piece of data on its way. Its buffers are used again.
type frame struct {
	data    []byte // what is compressed
	content bool   // of a file; sum and zeros are wanted
	sum     [sha256.Size]byte
	zeros   bool
	out     []byte        // the zstd frame
	ready   chan struct{} // has one value when everything is computed
}

// frameStep is what arrives in order: a frame, or the entry that is complete with
// the frames before it.
type frameStep struct {
	frame *frame
	entry *tocEntry
}

// newFrameWriter makes frames of at most about size bytes each.
func newFrameWriter(size int, emit func(frameStep) error) (*frameWriter, error) {
	// More processors than cores are for threads that wait for the disk.
	workers := min(runtime.GOMAXPROCS(0), runtime.NumCPU(), maxWorkers)
	strong, err := newZstdEncoder(nil, zstd.SpeedBetterCompression, size, workers)
	if err != nil {
		return nil, err
	}
	fast, err := newZstdEncoder(nil, zstd.SpeedFastest, size, workers)
	if err != nil {
		return nil, err
	}
	limit := max(workers+1, min(maxInFlight/size, 8*workers))
	w := &frameWriter{
		strong: strong, fast: fast, emit: emit,
		limit: limit, free: make(chan *frame, limit), work: make(chan *frame, limit), order: make(chan frameStep, limit),
		failed: make(chan struct{}), done: make(chan struct{}),
	}
	for range workers {
		w.worker.Go(w.compress)
	}
	go w.deliver()
	return w, nil
}

// begin gives an empty frame to fill, or the error of emit.
func (w *frameWriter) begin() (*frame, error) {
	if w.made < w.limit && len(w.free) == 0 {
		w.made++
		w.free <- &frame{ready: make(chan struct{}, 1)}
	}
	select {
	case <-w.failed:
		return nil, w.err
	case f := <-w.free:
		f.data = f.data[:0]
		return f, nil
	}
}

// send hands a frame in, which belongs to the frameWriter from now on.
func (w *frameWriter) send(f *frame) {
	w.order <- frameStep{frame: f}
	w.work <- f // never waits: there is room for all frames
}

// mark says that an entry is complete with the frames that were sent before.
func (w *frameWriter) mark(e *tocEntry) { w.order <- frameStep{entry: e} }

// close waits until everything was emitted, and gives the first error.
func (w *frameWriter) close() error {
	close(w.order)
	close(w.work)
	<-w.done
	w.worker.Wait()
	return w.err
}

// compress is a worker.
func (w *frameWriter) compress() {
	for f := range w.work {
		if f.content {
			f.sum, f.zeros = sha256.Sum256(f.data), isZero(f.data)
		}
		z := w.strong
		if looksCompressed(f.data) {
			z = w.fast
		}
		f.out = z.EncodeAll(f.data, f.out[:0])
		f.ready <- struct{}{}
	}
}

// deliver emits the steps in order. After an error it goes on without emitting, so
// that nobody waits for ever.
func (w *frameWriter) deliver() {
	defer close(w.done)
	for step := range w.order {
		if step.frame != nil {
			<-step.frame.ready
		}
		if w.err == nil {
			if w.err = w.emit(step); w.err != nil {
				close(w.failed)
			}
		}
		if step.frame != nil {
			w.free <- step.frame
		}
	}
}
