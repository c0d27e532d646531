package archive

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// The stream between two goroutines is cut into blocks of this size, and so many
// of them are on the way at most.
const (
	pipeBlockSize = 256 << 10
	pipeBlocks    = 4
)

// pipe carries a stream between two goroutines, so that they work on two cores: one side
// fills blocks, the other reads them. It can digest what passes in a goroutine of its
// own, since a hash cannot be computed in parts.
//
// One goroutine writes and ends with closeWrite; another one may read. Without a
// reader the pipe only digests. One of them, whoever knows the tar, may mark sections
// of the stream, whose digests then come with that of the stream: the writer, if what
// was written is digested at once, and the reader, if what was read is.
type pipe struct {
	toRead  chan *pipeBlock // as long as there are blocks: sending never waits; nil without a reader
	free    chan *pipeBlock // the same
	made    int
	filling *pipeBlock

	reading *pipeBlock
	rest    []byte // of reading
	end     error  // what the reader gets at the end; set before toRead is closed

	stop    chan struct{} // closed when the reader gave up
	stopped sync.Once
	cause   error // why; set before stop is closed

	sum    *pipeSum // nil: nothing is digested
	behind bool     // the reader passes on what is to be digested, not the writer
}

// pipeBlock goes back to be filled when nobody holds it any more.
type pipeBlock struct {
	data    []byte
	holders atomic.Int32
}

// What is digested, and who marks sections.
type pipeOrder int

const (
	undigested    pipeOrder = iota // nothing, nobody
	digestOnly                     // what is written; nobody reads
	digestWritten                  // what is written, while the reader has it, too
	digestRead                     // what is read, when the reader is through with it
)

func newPipe(order pipeOrder) *pipe {
	p := &pipe{
		free:   make(chan *pipeBlock, pipeBlocks),
		stop:   make(chan struct{}),
		behind: order == digestRead,
	}
	if order != digestOnly {
		p.toRead = make(chan *pipeBlock, pipeBlocks)
	}
	if order != undigested {
		p.sum = newPipeSum(p.release)
	}
	return p
}

func (p *pipe) release(b *pipeBlock) {
	if b.holders.Add(-1) == 0 {
		p.free <- b
	}
}

// beginSection starts a section with the next byte that its caller writes or reads. The one
// before must have ended.
func (p *pipe) beginSection() { p.mark(sectionBegins) }

// endSection ends a section behind the last byte that its caller wrote or read, waits
// until all of it is digested, and gives its SHA-256.
func (p *pipe) endSection() []byte {
	p.mark(sectionEnds)
	return <-p.sum.sections
}

func (p *pipe) mark(m pipeMark) {
	switch {
	case !p.behind && p.filling != nil:
		p.sum.pass(p.filling, len(p.filling.data), m)
	case p.behind && p.reading != nil:
		p.sum.pass(p.reading, len(p.reading.data)-len(p.rest), m)
	default:
		p.sum.pass(nil, 0, m)
	}
}

// space gives the free part of the block that is being filled, waiting for a block
// if there is none.
func (p *pipe) space() ([]byte, error) {
	select {
	case <-p.stop:
		return nil, p.cause
	default:
	}
	if p.filling == nil {
		if err := p.nextBlock(); err != nil {
			return nil, err
		}
		p.filling.data = p.filling.data[:0]
		p.filling.holders.Store(1)
	}
	return p.filling.data[len(p.filling.data):pipeBlockSize], nil
}

func (p *pipe) nextBlock() error {
	select {
	case p.filling = <-p.free:
		return nil
	default:
	}
	if p.made < pipeBlocks {
		p.made++
		p.filling = &pipeBlock{data: make([]byte, 0, pipeBlockSize)}
		return nil
	}
	select {
	case p.filling = <-p.free:
		return nil
	case <-p.stop:
		return p.cause
	}
}

// filled says that the first n bytes of space were written.
func (p *pipe) filled(n int) {
	p.filling.data = p.filling.data[:len(p.filling.data)+n]
	if len(p.filling.data) == pipeBlockSize {
		p.flush()
	}
}

func (p *pipe) flush() {
	b := p.filling
	p.filling = nil
	if b == nil {
		return
	}
	if p.toRead != nil {
		b.holders.Add(1)
		p.toRead <- b
	}
	if p.sum != nil && !p.behind {
		p.sum.passRest(b)
	}
	p.release(b)
}

// Write fills blocks; it fails with the reason of closeRead once that was called.
func (p *pipe) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		space, err := p.space()
		if err != nil {
			return done, err
		}
		n := copy(space, b[done:])
		p.filled(n)
		done += n
	}
	return done, nil
}

// ReadFrom fills blocks from r up to its end.
func (p *pipe) ReadFrom(r io.Reader) (int64, error) {
	var done int64
	for {
		space, err := p.space()
		if err != nil {
			return done, err
		}
		n, err := r.Read(space)
		p.filled(n)
		done += int64(n)
		if err == io.EOF {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
}

// fill carries all of r, and its error.
func (p *pipe) fill(r io.Reader) {
	_, err := p.ReadFrom(r)
	p.closeWrite(err)
}

// closeWrite ends the stream; the reader gets err after everything that was
// written, io.EOF for nil. It must be called exactly once.
func (p *pipe) closeWrite(err error) {
	p.flush()
	if err == nil {
		err = io.EOF
	}
	p.end = err
	if p.toRead != nil {
		close(p.toRead)
	}
	if p.sum != nil && !p.behind {
		p.sum.close()
	}
}

// Read gives what was written, to one goroutine.
func (p *pipe) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		p.leave()
		next, ok := <-p.toRead
		if !ok {
			if p.behind {
				p.sum.close()
			}
			return 0, p.end
		}
		p.reading, p.rest = next, next.data
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// leave lets go of the block that was read.
func (p *pipe) leave() {
	b := p.reading
	p.reading = nil
	if b == nil {
		return
	}
	if p.behind {
		p.sum.passRest(b)
	}
	p.release(b)
}

// closeRead makes the writer fail with err from now on. What the reader has not
// read goes lost. Where what is read is digested, it is for the goroutine that reads.
func (p *pipe) closeRead(err error) {
	p.stopped.Do(func() {
		p.cause = err
		close(p.stop)
	})
	if p.behind {
		p.sum.close()
	}
}

// digest waits until everything that is to be digested is: what was written before
// closeWrite, or what was read before the end or closeRead.
func (p *pipe) digest() digest.Digest {
	<-p.sum.done
	return sha256Digest(p.sum.whole)
}
