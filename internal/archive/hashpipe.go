package archive

import (
	"crypto/sha256"
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

// hashPipe is a pipe that digests what passes, in a goroutine of its own: one side
// fills blocks, the other reads them, and the digest is computed meanwhile. A hash
// cannot be computed in parts, so this is how a second core helps.
//
// One goroutine writes and ends with closeWrite; another one may read. Without a
// reader the pipe only digests.
type hashPipe struct {
	toHash  chan *pipeBlock // as long as there are blocks: sending never waits
	toRead  chan *pipeBlock // the same; nil without a reader
	free    chan *pipeBlock
	made    int
	filling *pipeBlock

	reading *pipeBlock
	rest    []byte // of reading
	end     error  // what the reader gets at the end; set before toRead is closed

	stop    chan struct{} // closed when the reader gave up
	stopped sync.Once
	cause   error // why; set before stop is closed

	hashed chan struct{} // closed when sum is complete
	sum    []byte
}

type pipeBlock struct {
	data  []byte
	users atomic.Int32
}

func newHashPipe(read bool) *hashPipe {
	p := &hashPipe{
		toHash: make(chan *pipeBlock, pipeBlocks),
		free:   make(chan *pipeBlock, pipeBlocks),
		stop:   make(chan struct{}),
		hashed: make(chan struct{}),
	}
	if read {
		p.toRead = make(chan *pipeBlock, pipeBlocks)
	}
	go func() {
		defer close(p.hashed)
		hash := sha256.New()
		for b := range p.toHash {
			hash.Write(b.data)
			p.release(b)
		}
		p.sum = hash.Sum(nil)
	}()
	return p
}

func (p *hashPipe) release(b *pipeBlock) {
	if b.users.Add(-1) == 0 {
		p.free <- b
	}
}

// space gives the free part of the block that is being filled, waiting for a block
// if there is none.
func (p *hashPipe) space() ([]byte, error) {
	select {
	case <-p.stop:
		return nil, p.cause
	default:
	}
	if p.filling == nil {
		select {
		case p.filling = <-p.free:
		default:
			if p.made < pipeBlocks {
				p.made++
				p.filling = &pipeBlock{data: make([]byte, 0, pipeBlockSize)}
				break
			}
			select {
			case p.filling = <-p.free:
			case <-p.stop:
				return nil, p.cause
			}
		}
		p.filling.data = p.filling.data[:0]
	}
	return p.filling.data[len(p.filling.data):pipeBlockSize], nil
}

// filled says that the first n bytes of space were written.
func (p *hashPipe) filled(n int) {
	p.filling.data = p.filling.data[:len(p.filling.data)+n]
	if len(p.filling.data) == pipeBlockSize {
		p.flush()
	}
}

func (p *hashPipe) flush() {
	b := p.filling
	p.filling = nil
	if b == nil {
		return
	}
	b.users.Store(1)
	if p.toRead != nil {
		b.users.Store(2)
		p.toRead <- b
	}
	p.toHash <- b
}

// Write fills blocks; it fails with the reason of closeRead once that was called.
func (p *hashPipe) Write(b []byte) (int, error) {
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
func (p *hashPipe) ReadFrom(r io.Reader) (int64, error) {
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

// closeWrite ends the stream; the reader gets err after everything that was
// written, io.EOF for nil. It must be called exactly once.
func (p *hashPipe) closeWrite(err error) {
	p.flush()
	if err == nil {
		err = io.EOF
	}
	p.end = err
	close(p.toHash)
	if p.toRead != nil {
		close(p.toRead)
	}
}

// Read gives what was written, to one goroutine.
func (p *hashPipe) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.reading != nil {
			p.release(p.reading)
			p.reading = nil
		}
		next, ok := <-p.toRead
		if !ok {
			return 0, p.end
		}
		p.reading, p.rest = next, next.data
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// closeRead makes the writer fail with err from now on. What the reader has not
// read goes lost.
func (p *hashPipe) closeRead(err error) {
	p.stopped.Do(func() {
		p.cause = err
		close(p.stop)
	})
}

// digest waits until everything that was written before closeWrite is digested.
func (p *hashPipe) digest() digest.Digest {
	<-p.hashed
	return sha256Digest(p.sum)
}
