package archive

import (
	"sync"

	"github.com/nbpack/nbpack/internal/twinsum"
)

// pipeSum digests what passes through a pipe, and sections of it, in a goroutine of its
// own. All but done and whole is for the side of the pipe that knows the tar.
type pipeSum struct {
	pieces   chan pipePiece
	passed   int // bytes of the current block
	closed   sync.Once
	sections chan []byte   // their digests
	done     chan struct{} // closed when whole is complete
	whole    []byte
}

// pipePiece is a part of a block, and what follows it.
type pipePiece struct {
	block *pipeBlock // nil for no bytes
	data  []byte
	mark  pipeMark
}

type pipeMark int

const (
	noMark pipeMark = iota
	sectionBegins
	sectionEnds
)

// newPipeSum starts the goroutine, which ends after close. It holds each block that it
// is given a piece of until that is digested.
func newPipeSum(release func(*pipeBlock)) *pipeSum {
	s := &pipeSum{pieces: make(chan pipePiece, pipeBlocks), sections: make(chan []byte, 1), done: make(chan struct{})}
	go s.run(release)
	return s
}

func (s *pipeSum) run(release func(*pipeBlock)) {
	defer close(s.done)
	hash := twinsum.New()
	for piece := range s.pieces {
		_, _ = hash.Write(piece.data)
		if piece.block != nil {
			release(piece.block)
		}
		switch piece.mark {
		case sectionBegins:
			hash.Begin()
		case sectionEnds:
			s.sections <- hash.End()
		}
	}
	s.whole = hash.Sum()
}

// pass gives a block up to a place in it, or nothing, and then the mark.
func (s *pipeSum) pass(b *pipeBlock, upTo int, m pipeMark) {
	if b == nil {
		s.pieces <- pipePiece{mark: m}
		return
	}
	b.holders.Add(1)
	s.pieces <- pipePiece{b, b.data[s.passed:upTo], m}
	s.passed = upTo
}

// passRest gives what is left of a block; another one follows.
func (s *pipeSum) passRest(b *pipeBlock) {
	s.pass(b, len(b.data), noMark)
	s.passed = 0
}

func (s *pipeSum) close() { s.closed.Do(func() { close(s.pieces) }) }
