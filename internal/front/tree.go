package front

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/spec"
)

// tree reads what nbextract mirror writes. It never leaves the directory.
type tree struct {
	root *os.Root

	mu      sync.Mutex
	blobs   []blob // the last list …
	changed map[string]time.Time
}

// blob is one file of the store. Manifests lie there, too.
type blob struct {
	digest digest.Digest
	size   int64
	since  time.Time // when it came into the tree
}

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the mirror: %w", err)
	}
	if _, err := root.Stat(mirrortree.V2 + "/"); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("%q is no mirror, which nbextract mirror makes: %w", dir, err)
	}
	return &tree{root: root}, nil
}

// tagged says what a tag names.
func (t *tree) tagged(name, tag string) (digest.Digest, error) {
	to, err := t.root.Readlink(mirrortree.Tag(name, tag))
	if err != nil {
		return "", err
	}
	return mirrortree.TagDigest(to)
}

// open opens a file for reading; what is no regular file does not exist.
func (t *tree) open(p string) (*os.File, fs.FileInfo, error) {
	st, err := t.root.Lstat(p)
	if err == nil && !st.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := t.root.Open(p)
	if err != nil {
		return nil, nil, err
	}
	if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

// manifest opens a manifest and says its media type.
func (t *tree) manifest(name string, d digest.Digest) (*os.File, fs.FileInfo, string, error) {
	for _, k := range mirrortree.Kinds() {
		f, st, err := t.open(mirrortree.Manifest(name, d, k))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return f, st, k.MediaType(), err
	}
	return nil, nil, "", fs.ErrNotExist
}

// document reads a small file.
func (t *tree) document(p string) ([]byte, error) {
	f, _, err := t.open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("%q is longer than %d bytes", p, maxDocument)
	}
	return b, err
}

// maxDocument bounds lists of tags and of referrers.
const maxDocument = 16 << 20

// list gives all blobs. It looks at the disk where a directory has changed.
func (t *tree) list() ([]blob, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	algorithms, changed, err := t.directories()
	if err != nil {
		return nil, err
	}
	if same(changed, t.changed) {
		return t.blobs, nil
	}
	var all []blob
	for _, algorithm := range algorithms {
		entries, err := fs.ReadDir(t.root.FS(), path.Join(mirrortree.Blobs, algorithm))
		if err != nil {
			return nil, fmt.Errorf("list the blobs: %w", err)
		}
		for _, e := range entries {
			d, err := spec.ParseDigest(algorithm + ":" + e.Name())
			if err != nil {
				continue
			}
			if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
				all = append(all, blob{d, st.Size(), st.ModTime()})
			}
		}
	}
	t.blobs, t.changed = all, changed
	return all, nil
}

// directories lists those of the store, with the time of their last change.
func (t *tree) directories() (names []string, changed map[string]time.Time, err error) {
	changed = map[string]time.Time{}
	entries, err := fs.ReadDir(t.root.FS(), mirrortree.Blobs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, changed, nil
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil || !st.IsDir() {
			continue
		}
		names = append(names, e.Name())
		changed[e.Name()] = st.ModTime()
	}
	return names, changed, err
}

// settled is how old the last change of a directory must be: within the resolution of
// its time another one could follow unseen.
const settled = 2 * time.Second

func same(a, b map[string]time.Time) bool {
	if len(a) != len(b) || b == nil {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || !v.Equal(w) || time.Since(v) < settled {
			return false
		}
	}
	return true
}
