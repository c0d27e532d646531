package bootcheck

import (
	"bufio"
	"io"
)

// facts are what is known of one file.
type facts struct {
	path    string
	size    int64
	program *program // if it is a PE file
	notPE   error    // else why not
	sbat    generations
	levels  generations // of a shim: the latest it knows
	loader  string      // of a shim: the name of its second stage
	kernel  *kernel
	initrd  *initrd
	damage  error // of a compressed file that is neither
}

// Probe looks at a file that is written to it, from the beginning to the end. It
// has to be closed.
type Probe struct {
	c     *Checker
	facts facts
	head  []byte
	begun bool
	scans []func([]byte)
	kept  []*kept
	find  *loaderFinder
	banks *versionFinder
	pipe  *io.PipeWriter
	done  chan struct{}
	s     *stream
	dead  bool // the file was not read to its end
}

// kept is a part of a file that is needed later.
type kept struct {
	at span
	b  []byte
}

// Write implements io.Writer. It never fails.
func (p *Probe) Write(b []byte) (int, error) {
	n := len(b)
	if !p.begun {
		take := min(len(b), headSize-len(p.head))
		p.head = append(p.head, b[:take]...)
		b = b[take:]
		if p.facts.size += int64(take); len(p.head) < headSize {
			return n, nil
		}
		p.begin()
	}
	p.feed(b)
	return n, nil
}

// Abort says that the file cannot be read to its end. Nothing is known of it then.
func (p *Probe) Abort() { p.dead = true }

// Close ends the file and waits until everything was looked at. It never fails.
func (p *Probe) Close() error {
	if !p.begun {
		p.begin()
	}
	if p.pipe != nil {
		_ = p.pipe.Close() // it always succeeds
		<-p.done
	}
	if p.dead {
		return nil
	}
	p.end()
	p.c.files = append(p.c.files, p.facts)
	return nil
}

// feed hands bytes behind the head to everything that looks at them.
func (p *Probe) feed(b []byte) {
	for _, scan := range p.scans {
		scan(b)
	}
	p.facts.size += int64(len(b))
}

// begin decides by the first bytes what is to be looked at, and begins.
func (p *Probe) begin() {
	p.begun = true
	head := p.head
	p.head = nil
	f := &p.facts
	f.kernel = parseKernel(head)
	f.program, f.notPE = parsePE(head)
	switch {
	case f.kernel != nil && f.kernel.search:
		p.banks = &versionFinder{}
		p.scans = append(p.scans, p.banks.write)
	case f.kernel != nil && f.kernel.payload.size > 0:
		p.unpack(f.kernel.payload)
	case f.kernel == nil && f.program != nil:
		p.find = &loaderFinder{}
		p.scans = append(p.scans, p.find.write)
		p.keep(f.program.sbat)
		for _, at := range f.program.unnamed {
			p.keep(at)
		}
	case compression(head) != "" || isCPIO(head):
		p.unpack(span{0, 1 << 62})
	}
	// What is in the head was counted already.
	f.size -= int64(len(head))
	p.feed(head)
}

// keep has a part of the file kept.
func (p *Probe) keep(at span) {
	k := &kept{at: at}
	p.kept = append(p.kept, k)
	p.scans = append(p.scans, func(b []byte) { k.b = append(k.b, cut(b, p.facts.size, at)...) })
}

// unpack starts to read a part of the file that is packed.
func (p *Probe) unpack(at span) {
	r, w := io.Pipe()
	p.pipe, p.done, p.s = w, make(chan struct{}), &stream{}
	p.scans = append(p.scans, func(b []byte) {
		_, _ = w.Write(cut(b, p.facts.size, at)) // the reader takes everything
	})
	go func() {
		defer close(p.done)
		p.s.r = bufio.NewReaderSize(r, 64<<10)
		p.s.read()
		_, _ = io.Copy(io.Discard, r) // a pipe fails only if its writer says so
	}()
}

// cut gives what of b, which lies at an offset of the file, is within at.
func cut(b []byte, offset int64, at span) []byte {
	from := max(at.offset-offset, 0)
	to := min(at.offset+at.size-offset, int64(len(b)))
	if from >= to {
		return nil
	}
	return b[from:to]
}

// end gathers what was found.
func (p *Probe) end() {
	f := &p.facts
	if p.banks != nil {
		if f.kernel.version = p.banks.end(); f.kernel.version == "" && f.kernel.maybe {
			f.kernel = nil
		}
	}
	if p.find != nil {
		f.loader = p.find.name
	}
	for i, k := range p.kept {
		if i == 0 {
			f.sbat = parseSBAT(k.b)
		} else if l := parseLevels(k.b); l != nil {
			f.levels = l
		}
	}
	switch {
	case p.s == nil:
	case f.kernel != nil: // packed into an EFI program
		if p.s.kernel != nil {
			f.kernel.version = p.s.kernel.version
		}
	default:
		f.kernel, f.initrd, f.damage = p.s.kernel, p.s.initrd, p.s.err
	}
}
