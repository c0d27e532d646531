package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/spec"
)

// Places below the tree that only the writer sees.
const (
	stateDir   = mirrortree.State + "/mirror"
	tmpDir     = stateDir + "/tmp"     // what is not in its place yet; emptied when a run begins
	partialDir = stateDir + "/partial" // beginnings of blobs, for the next run
	stateFile  = stateDir + "/state.json"
	lockFile   = stateDir + "/lock"
)

// tree is the directory. Paths are relative and slash-separated. Its methods may
// be called from many goroutines.
type tree struct {
	dir  string   // as the user wrote it
	root *os.Root // nil: there is no directory yet, and none is made (dry run)
	seq  atomic.Int64
	step func() error // asked before each change that can be seen; tests end runs there. nil: no end
}

// next is asked before each change.
func (t *tree) next() error {
	if t.step == nil {
		return nil
	}
	return t.step()
}

// rename puts what is at old in the place of p.
func (t *tree) rename(old, p string) error {
	if err := t.next(); err != nil {
		return err
	}
	return t.root.Rename(old, p)
}

// openTree opens the directory, and makes it where it may.
func openTree(dir string, make bool) (*tree, error) {
	if make {
		if err := makeTop(dir); err != nil {
			return nil, fmt.Errorf("create the directory of the mirror: %w", err)
		}
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) && !make {
		return &tree{dir: dir}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the directory of the mirror: %w", err)
	}
	return &tree{dir: dir, root: root}, nil
}

// makeTop makes a directory that a web server can read, whatever the umask. One
// that is there keeps its mode.
func makeTop(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil // if it is no directory, opening it says so
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	return err
}

func (t *tree) close() error {
	if t.root == nil {
		return nil
	}
	return t.root.Close()
}

// abs gives the path for system calls that know no Root.
func (t *tree) abs(p string) string { return filepath.Join(t.dir, filepath.FromSlash(p)) }

func (t *tree) lstat(p string) (fs.FileInfo, error) {
	if t.root == nil {
		return nil, fs.ErrNotExist
	}
	return t.root.Lstat(p)
}

// read reads a small regular file of the tree.
func (t *tree) read(p string) ([]byte, error) {
	st, err := t.lstat(p)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > spec.MaxManifestSize {
		return nil, fmt.Errorf("%q is no file of a mirror", p)
	}
	return t.root.ReadFile(p)
}

// list gives the entries of a directory, sorted; none if it is not there.
func (t *tree) list(p string) ([]fs.DirEntry, error) {
	if t.root == nil {
		return nil, nil
	}
	list, err := fs.ReadDir(t.root.FS(), p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// mkdir makes a directory and those above it, readable for web servers whatever
// the umask, and adds to dirty what has new entries.
func (t *tree) mkdir(p string, dirty *dirs) error {
	if p == "." {
		return nil
	}
	if st, err := t.root.Lstat(p); err == nil && st.IsDir() {
		return nil
	}
	if err := t.mkdir(path.Dir(p), dirty); err != nil {
		return err
	}
	if err := t.next(); err != nil {
		return err
	}
	err := t.root.Mkdir(p, 0o755)
	if errors.Is(err, fs.ErrExist) {
		if st, lerr := t.root.Lstat(p); lerr == nil && st.IsDir() {
			return nil // another goroutine was faster
		}
	}
	if err == nil {
		err = t.root.Chmod(p, 0o755)
	}
	if err != nil {
		return fmt.Errorf("create directory %q: %w", p, err)
	}
	dirty.add(path.Dir(p))
	return nil
}

// tmp gives a name that nothing has, on the same file system.
func (t *tree) tmp() string { return path.Join(tmpDir, strconv.FormatInt(t.seq.Add(1), 10)) }

// put writes a file and puts it in its place when it is whole.
func (t *tree) put(p string, content []byte, mode fs.FileMode, dirty *dirs) error {
	if err := t.mkdir(path.Dir(p), dirty); err != nil {
		return err
	}
	tmp := t.tmp()
	err := t.write(tmp, content, mode)
	if err == nil {
		err = t.follow(tmp, p)
	}
	if err == nil {
		err = t.rename(tmp, p)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %q: %w", p, err), t.remove(tmp))
	}
	dirty.add(path.Dir(p))
	return nil
}

func (t *tree) write(p string, content []byte, mode fs.FileMode) error {
	f, err := t.root.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

// follow makes the file at p a later one than that at old, which it comes after
// under some name, by a second at least: rsync and HTTP caches take two files of
// one name, size and time for the same. Nothing has to be at old.
func (t *tree) follow(p, old string) error {
	was, err := t.root.Stat(old) // through the link of a tag
	if err != nil {
		return nil
	}
	is, err := t.root.Lstat(p)
	if err != nil || os.SameFile(was, is) || is.ModTime().Unix() > was.ModTime().Unix() {
		return err
	}
	when := time.Unix(was.ModTime().Unix()+1, 0)
	return t.root.Chtimes(p, when, when)
}

// link makes p a hard link to the file at old, unless it is one already.
func (t *tree) link(old, p string, dirty *dirs) error {
	if t.same(old, p) {
		return nil
	}
	return t.settle(p, dirty, func(tmp string) error { return t.root.Link(old, tmp) })
}

// same tells whether two paths are one file.
func (t *tree) same(a, b string) bool {
	sa, err1 := t.lstat(a)
	sb, err2 := t.lstat(b)
	return err1 == nil && err2 == nil && os.SameFile(sa, sb)
}

// symlink makes p a symbolic link, in one step where there is another one.
func (t *tree) symlink(target, p string, dirty *dirs) error {
	return t.settle(p, dirty, func(tmp string) error { return t.root.Symlink(target, tmp) })
}

// settle gives the name p to the link that is made under another one, in one step.
func (t *tree) settle(p string, dirty *dirs, link func(tmp string) error) error {
	if err := t.mkdir(path.Dir(p), dirty); err != nil {
		return err
	}
	tmp := t.tmp()
	err := link(tmp)
	if err == nil {
		err = t.rename(tmp, p)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("link %q: %w", p, err), t.remove(tmp))
	}
	dirty.add(path.Dir(p))
	return nil
}

// remove takes away a file, a link or an empty directory, which may be gone.
func (t *tree) remove(p string) error {
	if err := t.next(); err != nil {
		return err
	}
	if err := t.root.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// dirs are directories whose entries must reach the disk before something that
// relies on them is made.
type dirs struct {
	mu    sync.Mutex
	paths map[string]bool
}

func (d *dirs) add(p string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.paths == nil {
		d.paths = map[string]bool{}
	}
	d.paths[p] = true
}

// take gives what was added, and forgets it.
func (d *dirs) take() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	paths := d.paths
	d.paths = nil
	return paths
}

// sync brings them there.
func (t *tree) sync(d *dirs) error {
	for p := range d.take() {
		f, err := t.root.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since
		}
		if err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync directory %q: %w", p, err)
		}
	}
	return nil
}
