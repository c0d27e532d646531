package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nbpack/nbpack/internal/archive"
)

// sourceFiles reads the files of a plan, each as Scan saw it or not at all.
type sourceFiles struct {
	plan  *Plan
	roots map[string]*os.Root // open sources
	done  int64               // bytes read so far, for the progress
}

func newSourceFiles(p *Plan) *sourceFiles {
	return &sourceFiles{plan: p, roots: map[string]*os.Root{}}
}

// read hands the content of a planned file to consume, which must read it to
// its end and give its SHA-256 in hex. The file must be the one that Scan saw,
// before and after, and have the checksum that the user expects.
func (s *sourceFiles) read(ctx context.Context, e *Entry, consume func(io.Reader) (string, error)) (string, error) {
	f, err := s.open(e)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, err := consume(&sourceReader{ctx: ctx, s: s, f: f})
	if errors.Is(err, archive.ErrSourceChanged) {
		return "", changed(e.node.name)
	}
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", e.Source, err)
	}
	if err := e.still(f); err != nil {
		return "", err
	}
	return sum, s.plan.checkSum(e, sum)
}

// open opens the file that an entry is made of.
func (s *sourceFiles) open(e *Entry) (*os.File, error) {
	root, err := s.root(e.node.source)
	if err != nil {
		return nil, err
	}
	// Without O_NONBLOCK the open would wait for ever if a pipe took the place
	// of the file meanwhile.
	f, err := root.OpenFile(filepath.FromSlash(e.node.rel), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, changed(e.node.name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", e.Source, err)
	}
	if err := e.still(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// still compares the open file with what Scan saw.
func (e *Entry) still(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %q: %w", e.Source, err)
	}
	if !sameFile(e.node.info, info) {
		return changed(e.node.name)
	}
	return nil
}

// root opens a source, once.
func (s *sourceFiles) root(source string) (*os.Root, error) {
	if r, ok := s.roots[source]; ok {
		return r, nil
	}
	r, _, _, err := openSource(source)
	if err != nil {
		return nil, nowRefused(err)
	}
	s.roots[source] = r
	return r, nil
}

func (s *sourceFiles) close() {
	for _, r := range s.roots {
		_ = r.Close() // nothing was written through it
	}
}

// recheck looks at all sources again. Each file held still while it was read;
// this finds one that changed before its turn or after it, and names that came
// or went.
func (s *sourceFiles) recheck(ctx context.Context) error {
	o := &s.plan.options
	f, err := newFilter(o.Include, o.Exclude)
	if err != nil {
		return err
	}
	now, err := scanSources(ctx, o, f)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		return fmt.Errorf("looking at the sources again: %w", nowRefused(err))
	}
	if name := sameNodes(s.plan.nodes, now); name != "" {
		return changed(name)
	}
	return nil
}

// count adds bytes to the progress.
func (s *sourceFiles) count(n int64) {
	s.done += n
	if report := s.plan.options.Progress; report != nil && n > 0 {
		report("packing", s.done, s.plan.Size)
	}
}

// sourceReader reads a source file, counts for the progress, and ends when the
// context does.
type sourceReader struct {
	ctx context.Context
	s   *sourceFiles
	f   *os.File
}

// Read implements io.Reader.
func (r *sourceReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.f.Read(p)
	r.s.count(int64(n))
	return n, err
}
