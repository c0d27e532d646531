package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// namesDir tells whether the user means a directory.
func namesDir(output string) bool {
	st, err := os.Stat(output)
	return strings.HasSuffix(output, "/") || err == nil && st.IsDir()
}

// checkOutput refuses, before anything is asked of a registry, an output that
// could not be written at the end.
func checkOutput(output string) error {
	switch output {
	case "":
		return &usageError{"no file to write", "name one: -o FILE"}
	case "-":
		return &usageError{"standard output cannot be taken back when the last byte proves wrong", "write a file: -o FILE"}
	}
	dir := output
	if !namesDir(output) {
		dir = filepath.Dir(output)
		if _, err := newReplacement(output); err != nil {
			return err
		}
	}
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		return fmt.Errorf("output directory: %w", err)
	}
	return nil
}

// replacement is a regular file that is going to be replaced in one step, or
// created.
type replacement struct {
	path string      // with symbolic links followed: those stay
	old  fs.FileInfo // nil where there is no file yet
	part *os.File    // what is written so far; locked
}

// newReplacement looks at the file and changes nothing.
func newReplacement(path string) (*replacement, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("output %q is a link to nothing", path)
		}
		return &replacement{path: path}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the output file: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("output %q is no regular file, and will not be replaced by one", path)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, fmt.Errorf("look for the output file: %w", err)
	}
	return &replacement{path: path, old: st}, nil
}

// already tells whether the file has the wanted content. Its size counts unless
// it is negative; nothing is equal to what has no digest.
func (r *replacement) already(ctx context.Context, want ocispec.Descriptor) (bool, error) {
	if r.old == nil || want.Digest == "" || want.Size >= 0 && r.old.Size() != want.Size {
		return false, nil
	}
	f, err := os.Open(r.path)
	if err != nil {
		return false, fmt.Errorf("compare the output file: %w", err)
	}
	defer f.Close()
	hash := want.Digest.Algorithm().Hash()
	if _, err := io.Copy(hash, &cancelReader{ctx, f}); err != nil {
		return false, fmt.Errorf("compare the output file: %w", err)
	}
	return digest.NewDigest(want.Digest.Algorithm(), hash) == want.Digest, nil
}

// cancelReader ends a long read when the context does.
type cancelReader struct {
	ctx context.Context
	io.Reader
}

func (r *cancelReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// begin creates the new file beside the old one and reserves the space for so
// many bytes, if that is not negative. Its name is always the same, so that
// what a killed run left behind is used up by the next, and its lock keeps two
// runs from writing the same file.
func (r *replacement) begin(size int64) error {
	name := r.partName()
	for r.part == nil {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return fmt.Errorf("create file: %w", err)
		}
		ours, err := r.claim(f)
		if err != nil || !ours {
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return err
		}
		if ours {
			r.part = f
		}
	}
	if err := r.prepare(size); err != nil {
		r.abandon()
		return err
	}
	return nil
}

func (r *replacement) partName() string {
	dir, base := filepath.Split(r.path)
	return dir + "." + base + ".nbextract"
}

// claim locks a file that was opened by its name. It is false where, between
// the two, the run that had it before moved it into place or removed it.
func (r *replacement) claim(f *os.File) (bool, error) {
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, &busyError{r.path}
		}
		return false, fmt.Errorf("lock %q: %w", f.Name(), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, fmt.Errorf("look at %q: %w", f.Name(), err)
	}
	// In a directory that everybody may write to, somebody else may have been
	// here first, and may keep the file open.
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Nlink > 1 {
		return false, fmt.Errorf("%q is in the way and not from here", f.Name())
	}
	here, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("look at %q: %w", f.Name(), err)
	}
	now, err := os.Lstat(f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look again: %w", err)
	}
	return os.SameFile(here, now), nil
}

// prepare empties the new file, gives it the mode of the old one, and reserves
// its space, so that a full disk is known before the first byte.
func (r *replacement) prepare(size int64) error {
	if err := r.part.Truncate(0); err != nil {
		return fmt.Errorf("empty the new file: %w", err)
	}
	if r.old != nil {
		if err := r.part.Chmod(r.old.Mode().Perm()); err != nil {
			return fmt.Errorf("set the mode of the new file: %w", err)
		}
	}
	if size <= 0 {
		return nil
	}
	if err := reserve(r.part, size); err != nil {
		return fmt.Errorf("reserve %d bytes for %q: %w", size, r.path, err)
	}
	return nil
}

// finish writes the content, makes sure that it has reached the disk, and puts
// it into place. It gives the size of the file.
func (r *replacement) finish(content io.Reader) (int64, error) {
	n, err := io.Copy(r.part, content)
	if err == nil {
		err = r.part.Sync()
	}
	if err != nil {
		return 0, fmt.Errorf("write %q: %w", r.path, err)
	}
	if err := os.Rename(r.part.Name(), r.path); err != nil {
		return 0, fmt.Errorf("put the file into place: %w", err)
	}
	err = r.part.Close()
	r.part = nil
	return n, errors.Join(err, syncParent(r.path))
}

// abandon removes what was begun and not finished.
func (r *replacement) abandon() {
	if r.part != nil {
		_ = os.Remove(r.part.Name()) // under the lock, so it is ours
		_ = r.part.Close()
		r.part = nil
	}
}

// syncParent makes sure that a rename has reached the disk.
func syncParent(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	return nil
}

// busyError says that another run writes the same file.
type busyError struct{ path string }

func (e *busyError) Error() string { return fmt.Sprintf("another run is writing %q", e.path) }

// ExitCode is that of a lock that somebody else holds.
func (e *busyError) ExitCode() int { return 75 }

// Hint says what to do.
func (e *busyError) Hint() string { return "try again when it has ended" }
