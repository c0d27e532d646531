package pack

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/internal/source"
)

// sourceFiles reads the files of a plan, each as Scan saw it or not at all.
type sourceFiles struct {
	plan *Plan
	done int64              // bytes read so far, for the progress
	boot *bootcheck.Checker // looks at the files; nil if nobody wants to know
}

// read hands the content of a planned file to consume, which must read it to
// its end and give its SHA-256 in hex. The file must be the one that Scan saw,
// before and after, and have the checksums that the user and the source expect.
func (s *sourceFiles) read(ctx context.Context, e *Entry, consume func(io.Reader) (string, error)) (string, error) {
	r, err := e.node.Open(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	in, done := probed(s.boot, e.Path, &sourceReader{s: s, r: r})
	old := sha1.New()
	if s.plan.options.Describe {
		in = io.TeeReader(in, old)
	}
	sum, err := consume(in)
	done(err)
	if errors.Is(err, archive.ErrSourceChanged) {
		return "", source.Changed(e.node.Name)
	}
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", e.Source, err)
	}
	// What follows the size that was announced proves that there is nothing, and
	// that the file held still to the end.
	if n, err := io.Copy(io.Discard, r); n > 0 || errors.Is(err, archive.ErrSourceChanged) {
		return "", source.Changed(e.node.Name)
	} else if err != nil {
		return "", fmt.Errorf("reading %q: %w", e.Source, err)
	}
	s.plan.packed[e.node] = packedFile{sha256: sum, sha1: hex.EncodeToString(old.Sum(nil))}
	return sum, s.plan.checkSum(e, sum)
}

// packedFile is the content of a file, by digests in hex. SHA-1 is there for lists
// whose form demands it, only with Options.Describe, and proves nothing.
type packedFile struct{ sha256, sha1 string }

// count adds bytes to the progress.
func (s *sourceFiles) count(n int64) {
	s.done += n
	if report := s.plan.options.Progress; report != nil && n > 0 {
		report("packing", s.done, s.plan.Size)
	}
}

// sourceReader counts for the progress.
type sourceReader struct {
	s *sourceFiles
	r io.Reader
}

// Read implements io.Reader.
func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.s.count(int64(n))
	return n, err
}
