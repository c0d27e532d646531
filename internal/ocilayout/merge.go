package ocilayout

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
	"github.com/nbpack/nbpack/spec"
)

// Merge moves blobs, files by digest, into the layout dst, or an empty directory that
// becomes one, and writes what edit makes of its index.json as the last step, in one
// rename. Where edit changes nothing, that is not written. stage is a hidden directory
// on the same file system. The caller holds the layout's lock, and has synced the
// blobs. A merge that fails puts everything back; one that is killed leaves blobs that
// nothing refers to.
func Merge(ctx context.Context, dst, stage string, blobs map[digest.Digest]string, edit func(index []byte) ([]byte, error)) error {
	m := &merge{dst: dst, stage: stage}
	return m.run(ctx, blobs, edit)
}

// merge is one Merge.
type merge struct {
	dst   string   // the layout; an empty directory becomes one
	stage string   // a hidden directory on the same file system
	undo  []func() // takes back what was done, last first
}

func (m *merge) run(ctx context.Context, blobs map[digest.Digest]string, edit func(index []byte) ([]byte, error)) (err error) {
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(m.undo) {
				f()
			}
		}
	}()
	old, perm, err := readTarget(m.dst)
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
		if err := m.place(ocispec.ImageLayoutFile, LayoutFile(), 0); err != nil {
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
	to := filepath.Join(m.dst, filepath.FromSlash(BlobName(d)))
	_, err := os.Lstat(to)
	fresh := isNotExist(err)
	if err := os.Chmod(from, BlobMode); err != nil {
		return fmt.Errorf("set the mode of a blob: %w", err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("move a blob into place: %w", err)
	}
	if fresh {
		// Back into the stage, because the caller may try again.
		m.undo = append(m.undo, func() { _ = os.Rename(to, from) })
	}
	return nil
}

// mkdir makes a directory of the layout, or finds it. A link to one elsewhere is none:
// blobs would leave the layout by it.
func (m *merge) mkdir(dir string) error {
	err := os.Mkdir(dir, 0o777)
	if err == nil {
		m.undo = append(m.undo, func() { _ = os.Remove(dir) })
		return nil
	}
	if !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create directory: %w", err)
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("create directory: %w", err)
	}
	if !st.IsDir() {
		return noDirectory(dir)
	}
	return nil
}

func noDirectory(name string) error {
	return spec.Refuse(spec.RuleLayoutForm, "", "%q is not a directory", name)
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
