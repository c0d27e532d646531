package ocilayout

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// Dir are the [Files] of a directory. Whoever fills that directory is not
// trusted: nothing outside it is reachable, and only regular files are opened.
type Dir struct{ root *os.Root }

// OpenDir opens a directory. Nothing is looked for in it yet.
func OpenDir(dir string) (*Dir, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &Dir{root}, nil
}

// Open implements [Files].
func (f *Dir) Open(name string) (io.ReadCloser, int64, error) {
	// A writer that puts a new file in the place of this one is welcome, so the
	// one found is given up for the next; one that does nothing else is not.
	for tries := 1; ; tries++ {
		r, size, err := f.openOnce(name)
		switch {
		case !errors.Is(err, errReplaced):
			return r, size, err
		case tries == maxReplaced:
			return nil, 0, spec.Refuse(spec.RuleLayoutForm, name, "%v, %d times", err, tries)
		}
	}
}

// maxReplaced is how often a file may be another one between two looks at it.
const maxReplaced = 100

var errReplaced = errors.New("file changed while it was opened")

// openOnce opens a file, or says that it is not the one that had the name before.
func (f *Dir) openOnce(name string) (io.ReadCloser, int64, error) {
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
		return nil, 0, spec.Refuse(spec.RuleLayoutForm, name, "not a regular file (%s)", was.Mode().Type())
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
func (f *Dir) checkParents(name string) error {
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
			return spec.Refuse(spec.RuleLayoutForm, dir, "not a directory (%s)", st.Mode().Type())
		}
	}
	return nil
}

// Close implements [Files]. What was opened stays open.
func (f *Dir) Close() error { return f.root.Close() }

// List implements [Files]. Hidden directories at the top are left out.
func (f *Dir) List() ([]File, error) {
	var list []File
	err := fs.WalkDir(f.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(name, ".") && name != ".":
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		size := int64(-1)
		if e.Type().IsRegular() {
			st, err := e.Info()
			if err != nil {
				return err
			}
			size = st.Size()
		}
		list = append(list, File{name, size})
		return nil
	})
	return list, err
}
