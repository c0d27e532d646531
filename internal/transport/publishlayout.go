package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// blobMode is what every tool gives the blobs of a layout; umoci's temporary
// files are 0600.
const blobMode = 0o644

// layoutEntry is the entry of index.json for an image published as dst.
func layoutEntry(d ocispec.Descriptor, dst Reference) ocispec.Descriptor {
	e := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	if dst.Tag != "" {
		e.Annotations = map[string]string{ocispec.AnnotationRefName: dst.Tag}
	}
	return e
}

// newLayoutIndex is the index.json of a layout that holds one image.
func newLayoutIndex(entry ocispec.Descriptor) ([]byte, error) {
	doc, err := ociindex.New(nil).Insert(0, entry)
	if err != nil {
		return nil, err
	}
	return append(doc.Bytes(), '\n'), nil
}

// complete turns the stage into a whole layout that holds just this image.
func (s *Stage) complete(im image) error {
	if err := s.finish(); err != nil {
		return err
	}
	keep := map[digest.Digest]bool{im.manifest.Digest: true}
	for _, d := range im.blobs {
		keep[d.Digest] = true
	}
	for d := range s.blobs {
		if !keep[d] {
			if err := os.Remove(s.blobPath(d)); err != nil {
				return fmt.Errorf("remove unused blob: %w", err)
			}
			delete(s.blobs, d)
		}
	}
	if _, ok := s.blobs[im.manifest.Digest]; !ok {
		if err := writeFileSync(s.blobPath(im.manifest.Digest), im.raw); err != nil {
			return err
		}
	}
	index, err := newLayoutIndex(layoutEntry(im.manifest, s.dst))
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{ocispec.ImageIndexFile: index, ocispec.ImageLayoutFile: layoutFile()} {
		name = filepath.Join(s.layout, name)
		if err := errors.Join(os.Remove(name), writeFileSync(name, b)); err != nil {
			return err
		}
	}
	for d := range keep {
		if err := os.Chmod(s.blobPath(d), blobMode); err != nil {
			return fmt.Errorf("set the mode of a blob: %w", err)
		}
	}
	return s.syncLayout()
}

func layoutFile() []byte {
	return []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + "\"}\n")
}

func (s *Stage) syncLayout() error {
	for _, dir := range []string{"blobs/sha256", "blobs", "."} {
		if err := syncDir(filepath.Join(s.layout, dir)); err != nil {
			return err
		}
	}
	return nil
}

// publishLayout adds the image to a layout. A new layout appears in one
// rename; an existing one gets the blobs first and its index.json last.
func (s *Stage) publishLayout(ctx context.Context, im image) error {
	if err := s.complete(im); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dst := s.dst.path()
	if _, err := os.Lstat(dst); isNotExist(err) {
		undo, err := makeParents(dst)
		if err != nil {
			return err
		}
		err = os.Rename(s.layout, dst)
		if err == nil {
			return syncDir(filepath.Dir(dst))
		}
		if !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
			undo()
			return fmt.Errorf("move the layout into place: %w", err)
		}
		// Another build was faster: add to its layout.
	}
	return s.mergeLayout(ctx, dst, im)
}

// mergeLayout adds the staged image to the layout or empty directory dst.
func (s *Stage) mergeLayout(ctx context.Context, dst string, im image) (err error) {
	lock, err := lockDir(ctx, dst)
	if err != nil {
		return err
	}
	defer lock.Close()

	m := &merge{dst: dst}
	defer func() {
		if err != nil {
			m.undo()
		}
	}()
	index, perm, err := m.prepare(layoutEntry(im.manifest, s.dst))
	if err != nil {
		return err
	}
	for _, d := range append(im.blobs, im.manifest) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.take(s.blobPath(d.Digest), d.Digest); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDir(filepath.Join(dst, "blobs/sha256")), syncDir(filepath.Join(dst, "blobs"))); err != nil {
		return err
	}
	if index == nil {
		return nil // the entry is there already
	}
	// Written in the stage, so that a kill here leaves nothing in the layout.
	tmp := filepath.Join(s.dir, ocispec.ImageIndexFile)
	if err := writeFileSync(tmp, index); err != nil {
		return err
	}
	if perm != 0 {
		if err := os.Chmod(tmp, perm); err != nil {
			return fmt.Errorf("set the mode of %s: %w", ocispec.ImageIndexFile, err)
		}
	}
	if err := os.Rename(tmp, filepath.Join(dst, ocispec.ImageIndexFile)); err != nil {
		return fmt.Errorf("replace %s: %w", ocispec.ImageIndexFile, err)
	}
	m.made = nil // from here on the image is published
	return syncDir(dst)
}

// merge remembers what was created in a layout, to take it back on failure.
type merge struct {
	dst  string
	made []string
}

func (m *merge) undo() {
	for i := len(m.made) - 1; i >= 0; i-- {
		_ = os.Remove(m.made[i])
	}
}

// prepare makes the new index.json, in memory, and the directories of a new
// layout. A nil index means that nothing would change.
func (m *merge) prepare(entry ocispec.Descriptor) ([]byte, os.FileMode, error) {
	names, err := dirNames(m.dst)
	if err != nil {
		return nil, 0, err
	}
	if len(names) == 0 {
		if err := writeFileSync(filepath.Join(m.dst, ocispec.ImageLayoutFile), layoutFile()); err != nil {
			return nil, 0, err
		}
		m.made = append(m.made, filepath.Join(m.dst, ocispec.ImageLayoutFile))
		index, err := newLayoutIndex(entry)
		if err != nil {
			return nil, 0, err
		}
		return index, 0, m.mkdirs()
	}
	f, err := openRootFiles(m.dst)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	_, old, err := readLayoutIndex(f)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.root.Stat(ocispec.ImageIndexFile)
	if err != nil {
		return nil, 0, err
	}
	index, err := editIndex(old, entry)
	if err != nil {
		return nil, 0, err
	}
	if string(index) == string(old) {
		index = nil
	}
	return index, st.Mode().Perm(), m.mkdirs()
}

func (m *merge) mkdirs() error {
	for _, dir := range []string{"blobs", "blobs/sha256"} {
		dir = filepath.Join(m.dst, dir)
		err := os.Mkdir(dir, 0o777)
		if err == nil {
			m.made = append(m.made, dir)
		} else if !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("create directory: %w", err)
		}
	}
	return nil
}

// take moves a staged blob into the layout. One that is there already is
// replaced: it costs nothing, and heals a damaged one.
func (m *merge) take(from string, d digest.Digest) error {
	to := filepath.Join(m.dst, filepath.FromSlash(blobName(d)))
	_, err := os.Lstat(to)
	fresh := isNotExist(err)
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("move a blob into place: %w", err)
	}
	if fresh {
		m.made = append(m.made, to)
	}
	return nil
}
