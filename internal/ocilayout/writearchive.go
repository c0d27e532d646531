package ocilayout

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/nbpack/nbpack/internal/durable"
)

// Opener gives the content and the size of a file that goes into an archive, as
// Open of [Files] does.
type Opener func(name string) (io.ReadCloser, int64, error)

// ReplaceArchive writes a tar archive, whose bytes depend on nothing but the names,
// their order and the contents, and puts it in the place of dst. A name that ends in
// a slash is a directory. tmp is a file on the same file system that does not exist;
// it is gone in the end.
func ReplaceArchive(ctx context.Context, dst, tmp string, names []string, open Opener) error {
	if real, err := filepath.EvalSymlinks(dst); err == nil {
		dst = real
	} else if !isNotExist(err) {
		return fmt.Errorf("look at %q: %w", dst, err)
	}
	err := durable.Write(tmp, func(w io.Writer) error { return writeArchive(ctx, w, names, open) })
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	if err := durable.Rename(tmp, dst); err != nil {
		return errors.Join(fmt.Errorf("move the archive into place: %w", err), removeIfThere(tmp))
	}
	return nil
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !isNotExist(err) {
		return err
	}
	return nil
}

func writeArchive(ctx context.Context, to io.Writer, names []string, open Opener) error {
	buf := bufio.NewWriterSize(&ctxWriter{ctx, to}, 256<<10)
	w := tar.NewWriter(buf)
	for _, name := range names {
		if err := tarFile(w, name, open); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buf.Flush()
}

// ctxWriter fails once its context has ended.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (w *ctxWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

func tarFile(w *tar.Writer, name string, open Opener) error {
	// No Format: ustar, and PAX only for a blob of 8 GiB and more.
	h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}
	if strings.HasSuffix(name, "/") {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		return w.WriteHeader(h)
	}
	r, size, err := open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	h.Size = size
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}
