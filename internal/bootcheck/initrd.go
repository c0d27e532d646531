package bootcheck

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
)

// initrd is what is known of a cpio archive that a kernel unpacks at its start.
type initrd struct {
	modules []string // kernel versions with a directory below lib/modules
	err     error    // why it was not read to its end
}

// stream is what a goroutine reads of a file whose content is packed: an initrd,
// a kernel, or something else.
type stream struct {
	r      *bufio.Reader
	kernel *kernel // found in it
	initrd *initrd // found in it
	err    error   // of a stream that is neither
}

// read looks at everything there is. Each part of an initrd is an archive, plain
// or compressed, and zeros may lie between them. What else comes behind the last
// one no kernel reads either.
func (s *stream) read() {
	err := s.part()
	for err == nil && s.initrd != nil {
		err = s.part()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if s.initrd != nil {
		s.initrd.err = err
	}
	s.err = err
}

// part reads one part; io.EOF means that there is none.
func (s *stream) part() error {
	begin, err := skipZeros(s.r)
	if err != nil {
		return err
	}
	if isCPIO(begin) {
		return s.archive(s.r)
	}
	codec := compression(begin)
	if codec == "" {
		return io.EOF
	}
	out, done, err := unpack(s.r, codec)
	defer done()
	if err != nil {
		return err
	}
	return s.packed(bufio.NewReaderSize(out, 64<<10))
}

// packed reads what a compressed part holds: archives, or a kernel.
func (s *stream) packed(r *bufio.Reader) error {
	begin, err := r.Peek(0x240)
	if err != nil && err != io.EOF {
		return err
	}
	if !isCPIO(begin) && s.initrd == nil {
		if s.kernel = parseKernel(begin); s.kernel == nil {
			return io.EOF // something else
		}
		v := &versionFinder{}
		_, err = io.Copy(writerFunc(v.write), r)
		if s.kernel.version == "" {
			s.kernel.version = v.end()
		}
		return err
	}
	for {
		begin, err := skipZeros(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !isCPIO(begin) {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		if err := s.archive(r); err != nil {
			return err
		}
	}
}

func (s *stream) archive(r *bufio.Reader) error {
	if s.initrd == nil {
		s.initrd = &initrd{}
	}
	return readCPIO(r, func(name string) {
		v, list := moduleVersion(name), &s.initrd.modules
		if v != "" && len(*list) < maxModules && !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	})
}

// skipZeros skips padding, and gives the first bytes behind it; io.EOF if there
// are none.
func skipZeros(r *bufio.Reader) ([]byte, error) {
	for {
		b, err := r.Peek(6)
		if len(b) == 0 {
			return nil, err
		}
		if b[0] != 0 {
			return b, nil
		}
		// What is buffered can be looked at without an error.
		b, _ = r.Peek(r.Buffered())
		zeros := len(b) - len(bytes.TrimLeft(b, "\x00"))
		if _, err := r.Discard(zeros); err != nil {
			return nil, err
		}
	}
}

type writerFunc func([]byte)

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}
