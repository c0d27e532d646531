package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nbpack/nbpack/spec"
)

// diskFile is a file below an open directory, as it was when it was found.
type diskFile struct {
	root *os.Root
	rel  string
	name string // to show
	info fs.FileInfo
}

// open implements content.
func (d *diskFile) open(ctx context.Context) (io.ReadCloser, error) {
	f, err := d.file()
	if err != nil {
		return nil, err
	}
	return &diskReader{ctx: ctx, d: d, f: f}, nil
}

// file opens the file and proves that it is the one that was found.
func (d *diskFile) file() (*os.File, error) {
	// Without O_NONBLOCK the open would wait for ever if a pipe took the place
	// of the file meanwhile.
	f, err := d.root.OpenFile(filepath.FromSlash(d.rel), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, Changed(d.name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", d.name, err)
	}
	if err := d.still(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// still compares the open file with what was found.
func (d *diskFile) still(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %q: %w", d.name, err)
	}
	if !sameFile(d.info, info) {
		return Changed(d.name)
	}
	return nil
}

// diskReader reads a file and looks at its end whether it held still.
type diskReader struct {
	ctx context.Context
	d   *diskFile
	f   *os.File
}

// Read implements io.Reader.
func (r *diskReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.f.Read(p)
	if err == io.EOF {
		if err := r.d.still(r.f); err != nil {
			return n, err
		}
	}
	return n, err
}

// Close implements io.Closer.
func (r *diskReader) Close() error { return r.f.Close() }

// sameFile tells whether two looks saw the same file with the same content: same
// inode, size, and times of the last change to content and inode.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() &&
		a.ModTime().Equal(b.ModTime()) && changeTime(a).Equal(changeTime(b))
}

// directory opens a directory as a source. A link that was named as a source is
// followed, links below it never are.
func (s *Set) directory(ctx context.Context, name, disk string) (*opened, error) {
	root, err := os.OpenRoot(disk)
	if err != nil {
		return nil, fmt.Errorf("opening source %q: %w", name, err)
	}
	o := &opened{name: name, close: root.Close, facts: diskFacts(root, disk)}
	if o.entries, err = s.walk(ctx, root, disk); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	o.recheck = func(ctx context.Context) error {
		// The path is what the user named, so it is looked up again.
		again, err := os.OpenRoot(disk)
		if err != nil {
			return lookAgain(missing(name, err))
		}
		defer again.Close()
		now, err := s.walk(ctx, again, disk)
		if err != nil {
			return lookAgain(err)
		}
		if n := sameEntries(o.entries, now); n != "" {
			return Changed(n)
		}
		return nil
	}
	return o, nil
}

// lookAgain explains an error of a second look.
func lookAgain(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("looking at the sources again: %w", nowRefused(err))
}

// missing makes the error for a source that cannot be found.
func missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &missingError{fmt.Errorf("no source %q", name)}
	}
	return fmt.Errorf("looking at source %q: %w", name, err)
}

// walk gives what is below a directory.
func (s *Set) walk(ctx context.Context, root *os.Root, name string) ([]Entry, error) {
	var entries []Entry
	err := fs.WalkDir(root.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("reading source %q: %w", name, err)
		}
		if rel == "." {
			return nil
		}
		if s.o.prune(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		disk := filepath.Join(name, filepath.FromSlash(rel))
		info, err := root.Lstat(rel) // not d.Info, which goes by the path of the source
		if err != nil {
			return fmt.Errorf("looking at %q: %w", disk, err)
		}
		if !s.o.take(rel) || s.o.skip(info) {
			return nil
		}
		if len(entries) >= spec.MaxEntries {
			return refuse(RuleName, rel, HintExclude, "source %q holds more than %d names", name, spec.MaxEntries)
		}
		e, err := diskEntry(root, rel, rel, disk, info)
		entries = append(entries, e)
		return err
	})
	return entries, err
}

// diskEntry makes an entry of what lies at rel below root.
func diskEntry(root *os.Root, rel, name, disk string, info fs.FileInfo) (Entry, error) {
	e := Entry{Name: name, Origin: disk}
	if err := CheckName(name); err != nil {
		return e, err
	}
	file := &diskFile{root: root, rel: rel, name: disk, info: info}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		e.Type, e.Size, e.content = spec.TypeFile, info.Size(), file
	case mode.IsDir():
		e.Type = spec.TypeDir
	case mode.Type() == fs.ModeSymlink:
		target, err := root.Readlink(rel)
		if err != nil {
			return e, fmt.Errorf("reading link %q: %w", disk, err)
		}
		e.Type, e.Target = spec.TypeSymlink, target
	default:
		return e, refuse(RuleType, name, "leave it out with --exclude", "is a %s, not a file, directory or link", typeName(mode))
	}
	return e, nil
}

// sameEntries compares two looks at a directory and gives the first name that
// differs, or "". Directories only have to be there: what they hold is compared
// by itself.
func sameEntries(before, after []Entry) string {
	for i := range max(len(before), len(after)) {
		switch {
		case i >= len(before):
			return after[i].Name
		case i >= len(after):
			return before[i].Name
		}
		b, a := &before[i], &after[i]
		if b.Name != a.Name {
			return min(b.Name, a.Name)
		}
		if b.Type != a.Type || b.Target != a.Target || b.Type == spec.TypeFile && !sameDisk(b, a) {
			return b.Name
		}
	}
	return ""
}

func sameDisk(a, b *Entry) bool {
	x, ok := a.content.(*diskFile)
	y, ok2 := b.content.(*diskFile)
	return ok && ok2 && sameFile(x.info, y.info)
}
