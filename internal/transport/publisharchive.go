package transport

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
)

// checkArchiveTarget allows an empty file, and an archive that holds nothing
// but the image that will be replaced.
func checkArchiveTarget(dst Reference, st os.FileInfo) error {
	if !st.Mode().IsRegular() {
		return targetError(dst, "it is not a regular file")
	}
	if st.Size() == 0 {
		return nil
	}
	f, err := ocilayout.OpenArchive(dst.path())
	if err != nil {
		return targetError(dst, "the file is not an OCI archive (%v)", err)
	}
	defer f.Close()
	idx, _, err := ocilayout.ReadIndex(f)
	if err != nil {
		return targetError(dst, "the file is not an OCI archive (%v)", err)
	}
	others := slices.DeleteFunc(ocilayout.Names(idx), func(n string) bool { return n == dst.Tag })
	if len(others) > 0 {
		return targetError(dst, "the archive also holds %s, and archives are only replaced as a whole", quoteList(others))
	}
	return nil
}

// publishArchive writes the staged layout as a tar file whose bytes depend on
// nothing but the image, and renames it to its place.
func (s *Stage) publishArchive(ctx context.Context, im image) error {
	if err := s.complete(im); err != nil {
		return err
	}
	dst := s.dst.path()
	st, err := os.Stat(dst)
	if err == nil {
		if err := checkArchiveTarget(s.dst, st); err != nil {
			return err
		}
	} else if !isNotExist(err) {
		return err
	}
	return ocilayout.ReplaceArchive(ctx, dst, filepath.Join(s.work.Path, "archive"), archiveNames(im), s.openStaged)
}

// archiveNames puts what a reader needs first first: the names, the manifest, then
// the blobs in the manifest's order.
func archiveNames(im image) []string {
	names := []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile, "blobs/", "blobs/sha256/", ocilayout.BlobName(im.manifest.Digest)}
	for _, d := range im.blobs {
		names = append(names, ocilayout.BlobName(d.Digest))
	}
	return names
}

// openStaged opens a file of the staged layout.
func (s *Stage) openStaged(name string) (io.ReadCloser, int64, error) {
	f, err := os.Open(filepath.Join(s.layout, filepath.FromSlash(name)))
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}
