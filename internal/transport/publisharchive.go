package transport

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
	f, err := openTarFiles(dst.path())
	if err != nil {
		return targetError(dst, "the file is not an OCI archive (%v)", err)
	}
	defer f.Close()
	idx, _, err := readLayoutIndex(f)
	if err != nil {
		return targetError(dst, "the file is not an OCI archive (%v)", err)
	}
	others := slices.DeleteFunc(layoutNames(idx), func(n string) bool { return n == dst.Tag })
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
		if dst, err = filepath.EvalSymlinks(dst); err != nil {
			return err
		}
	} else if !isNotExist(err) {
		return err
	}
	tmp := filepath.Join(s.dir, "archive")
	if err := s.writeArchive(ctx, tmp, im); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	undo, err := makeParents(dst)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, dst); err != nil {
		undo()
		return fmt.Errorf("move the archive into place: %w", err)
	}
	return syncDir(filepath.Dir(dst))
}

func (s *Stage) writeArchive(ctx context.Context, name string, im image) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(&ctxWriter{ctx, f}, 256<<10)
	w := tar.NewWriter(buf)
	err = s.tarLayout(w, im)
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// tarLayout writes what a reader needs first first: the names, the manifest,
// then the blobs in the manifest's order.
func (s *Stage) tarLayout(w *tar.Writer, im image) error {
	names := []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile, "blobs/", "blobs/sha256/", blobName(im.manifest.Digest)}
	for _, d := range im.blobs {
		names = append(names, blobName(d.Digest))
	}
	for _, name := range names {
		if err := tarFile(w, name, filepath.Join(s.layout, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	return nil
}

func tarFile(w *tar.Writer, name, from string) error {
	// No Format: ustar, and PAX only for a blob of 8 GiB and more.
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}
	if strings.HasSuffix(name, "/") {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		return w.WriteHeader(h)
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = st.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
