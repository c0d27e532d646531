package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/durable"
	"github.com/nbpack/nbpack/internal/ociindex"
)

// merge adds blobs to a layout and changes its index.json, which is the last
// step and one rename. The caller holds the layout's lock. A merge that fails
// puts everything back; one that is killed leaves blobs that nothing refers to.
type merge struct {
	dst   string   // the layout; an empty directory becomes one
	stage string   // a hidden directory on the same file system
	undo  []func() // takes back what was done, last first
}

// run moves the blobs, files named by digest, into the layout and writes what
// edit makes of index.json. Where that changes nothing, it is not written.
func (m *merge) run(ctx context.Context, blobs map[digest.Digest]string, edit func(index []byte) ([]byte, error)) (err error) {
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(m.undo) {
				f()
			}
		}
	}()
	old, perm, err := m.read()
	if err != nil {
		return err
	}
	from := old
	if from == nil {
		from = append(ociindex.New(nil).Bytes(), '\n')
	}
	index, err := edit(from)
	if err != nil {
		return err
	}
	if old == nil {
		if err := m.place(ocispec.ImageLayoutFile, layoutFile(), 0); err != nil {
			return err
		}
	}
	for _, d := range slices.Sorted(maps.Keys(blobs)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.take(blobs[d], d); err != nil {
			return err
		}
	}
	if err := m.sync(blobs); err != nil {
		return err
	}
	if bytes.Equal(index, old) {
		return nil
	}
	if err := m.place(ocispec.ImageIndexFile, index, perm); err != nil {
		return err
	}
	m.undo = nil // from here on it is published
	return durable.SyncDir(m.dst)
}

// read gives index.json and its mode. Without one the directory is to become a
// layout.
func (m *merge) read() ([]byte, os.FileMode, error) {
	names, err := dirNames(m.dst)
	if err != nil || canBecomeLayout(names) {
		return nil, 0, err
	}
	f, err := openRootFiles(m.dst)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	_, raw, err := readLayoutIndex(f)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.root.Stat(ocispec.ImageIndexFile)
	if err != nil {
		return nil, 0, err
	}
	return raw, st.Mode().Perm(), nil
}

// place writes a file of the layout. It is made in the stage, so that nobody
// sees half of it.
func (m *merge) place(name string, b []byte, perm os.FileMode) error {
	tmp, to := filepath.Join(m.stage, "new-"+name), filepath.Join(m.dst, name)
	if err := os.Remove(tmp); err != nil && !isNotExist(err) {
		return fmt.Errorf("remove a leftover: %w", err)
	}
	if err := durable.WriteFile(tmp, b); err != nil {
		return err
	}
	if perm != 0 {
		if err := os.Chmod(tmp, perm); err != nil {
			return fmt.Errorf("set the mode of %s: %w", name, err)
		}
	}
	_, err := os.Lstat(to)
	fresh := isNotExist(err)
	if err := os.Rename(tmp, to); err != nil {
		return fmt.Errorf("put %s in its place: %w", name, err)
	}
	if fresh {
		m.undo = append(m.undo, func() { _ = os.Remove(to) })
	}
	return nil
}

// take moves a blob into the layout. One that is there already is replaced: it
// costs nothing, and heals a damaged one.
func (m *merge) take(from string, d digest.Digest) error {
	for _, dir := range []string{ocispec.ImageBlobsDir, path.Join(ocispec.ImageBlobsDir, d.Algorithm().String())} {
		if err := m.mkdir(filepath.Join(m.dst, filepath.FromSlash(dir))); err != nil {
			return err
		}
	}
	to := filepath.Join(m.dst, filepath.FromSlash(blobName(d)))
	_, err := os.Lstat(to)
	fresh := isNotExist(err)
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("move a blob into place: %w", err)
	}
	if fresh {
		// Back into the stage, because the caller may try again.
		m.undo = append(m.undo, func() { _ = os.Rename(to, from) })
	}
	return nil
}

func (m *merge) mkdir(dir string) error {
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		m.undo = append(m.undo, func() { _ = os.Remove(dir) })
	} else if !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create directory: %w", err)
	}
	return nil
}

// sync makes sure that the blobs are on the disk before index.json names them.
func (m *merge) sync(blobs map[digest.Digest]string) error {
	dirs := map[string]bool{}
	for d := range blobs {
		dirs[filepath.Join(m.dst, ocispec.ImageBlobsDir, d.Algorithm().String())] = true
	}
	for dir := range dirs {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	return durable.SyncDir(filepath.Join(m.dst, ocispec.ImageBlobsDir))
}
