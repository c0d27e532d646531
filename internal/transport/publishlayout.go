package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/durable"
	"github.com/nbpack/nbpack/internal/ocilayout"
)

// complete turns the stage into a whole layout that holds just this image.
func (s *Stage) complete(im image) error {
	s.finish()
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
		if err := durable.WriteFile(s.blobPath(im.manifest.Digest), im.raw); err != nil {
			return err
		}
	}
	index, err := ocilayout.NewIndex(ocilayout.Entry(im.manifest, s.dst.Tag))
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{ocispec.ImageIndexFile: index, ocispec.ImageLayoutFile: ocilayout.LayoutFile()} {
		if err := durable.WriteFile(filepath.Join(s.layout, name), b); err != nil {
			return err
		}
	}
	for d := range keep {
		if err := os.Chmod(s.blobPath(d), ocilayout.BlobMode); err != nil {
			return fmt.Errorf("set the mode of a blob: %w", err)
		}
	}
	return s.syncLayout()
}

func (s *Stage) syncLayout() error {
	for _, dir := range []string{"blobs/sha256", "blobs", "."} {
		if err := durable.SyncDir(filepath.Join(s.layout, dir)); err != nil {
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
		err = durable.Rename(s.layout, dst)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("move the layout into place: %w", err)
		}
		// Another build was faster: add to its layout.
	}
	return s.mergeLayout(ctx, dst, im)
}

// mergeLayout adds the staged image to the layout or empty directory dst.
func (s *Stage) mergeLayout(ctx context.Context, dst string, im image) error {
	lock, err := ocilayout.Acquire(ctx, dst)
	if err != nil {
		return err
	}
	defer lock.Release()
	blobs := map[digest.Digest]string{}
	for _, d := range append(im.blobs, im.manifest) {
		blobs[d.Digest] = s.blobPath(d.Digest)
	}
	return ocilayout.Merge(ctx, dst, s.work.Path, blobs, func(index []byte) ([]byte, error) {
		return ocilayout.SetEntry(index, ocilayout.Entry(im.manifest, s.dst.Tag))
	})
}
