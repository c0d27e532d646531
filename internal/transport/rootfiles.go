package transport

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/nbpack/nbpack/spec"
)

// files is the read side of a store of named, regular files. Names are slash
// separated and relative.
type files interface {
	// open gives the content and the size. The error wraps fs.ErrNotExist when
	// there is no such file.
	open(name string) (io.ReadCloser, int64, error)
	// list gives all that is no directory, in any order.
	list() ([]BundleFile, error)
	Close() error
}

// rootFiles are the files of a directory. Whoever fills that directory is not
// trusted: nothing outside it is reachable, and only regular files are opened.
type rootFiles struct{ root *os.Root }

func openRootFiles(dir string) (*rootFiles, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &rootFiles{root}, nil
}

func (f *rootFiles) open(name string) (io.ReadCloser, int64, error) {
	// A writer that puts a new file in the place of this one is welcome, so the
	// one found is given up for the next; one that does nothing else is not.
	for tries := 1; ; tries++ {
		r, size, err := f.openOnce(name)
		switch {
		case !errors.Is(err, errReplaced):
			return r, size, err
		case tries == maxReplaced:
			return nil, 0, spec.Refuse(ruleLayout, name, "%v, %d times", err, tries)
		}
	}
}

// maxReplaced is how often a file may be another one between two looks at it.
const maxReplaced = 100

var errReplaced = errors.New("file changed while it was opened")

// openOnce opens a file, or says that it is not the one that had the name before.
func (f *rootFiles) openOnce(name string) (io.ReadCloser, int64, error) {
	// os.Root follows links inside the tree, even with O_NOFOLLOW. So the
	// name is looked at first and the opened file is compared with it.
	if err := f.checkParents(name); err != nil {
		return nil, 0, err
	}
	was, err := f.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !was.Mode().IsRegular() {
		return nil, 0, spec.Refuse(ruleLayout, name, "not a regular file (%s)", was.Mode().Type())
	}
	// Without O_NONBLOCK a fifo put here in between would hang the open.
	file, err := f.root.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, 0, err
	}
	is, err := file.Stat()
	if err == nil && !os.SameFile(was, is) {
		err = errReplaced
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, is.Size(), nil
}

// checkParents refuses a name that leads through a symbolic link. What takes a
// directory's place later cannot lead out of the root either.
func (f *rootFiles) checkParents(name string) error {
	for i, c := range name {
		if c != '/' {
			continue
		}
		dir := name[:i] // from the outside: what is below a link is not looked at
		st, err := f.root.Lstat(dir)
		if err != nil {
			return err
		}
		if !st.IsDir() {
			return spec.Refuse(ruleLayout, dir, "not a directory (%s)", st.Mode().Type())
		}
	}
	return nil
}

func (f *rootFiles) Close() error { return f.root.Close() }

// readAll reads a small file of at most spec.MaxManifestSize bytes.
func readAll(f files, name string) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > spec.MaxManifestSize {
		return nil, spec.Refuse(ruleManifest, name, "%d bytes are over the limit of %d", size, spec.MaxManifestSize)
	}
	b, err := io.ReadAll(io.LimitReader(r, spec.MaxManifestSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	if len(b) > spec.MaxManifestSize {
		return nil, spec.Refuse(ruleManifest, name, "file is over the limit of %d bytes", spec.MaxManifestSize)
	}
	return b, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
