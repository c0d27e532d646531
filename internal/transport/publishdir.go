package transport

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/internal/durable"
	"github.com/nbpack/nbpack/internal/ocilayout"
)

// dirName matches the names that the directory format uses.
var dirName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(version|manifest\.json|signature-[0-9]+|(sha(256|384|512)-)?[0-9a-f]{64,128}(\.manifest\.json|\.signature-[0-9]+)?)$`)
})

// checkDirTarget allows an empty directory and one that holds an image in the
// same format and nothing else: it is replaced as a whole.
func checkDirTarget(dst Reference, st os.FileInfo) error {
	if !st.IsDir() {
		return targetError(dst, "it is not a directory")
	}
	names, err := ocilayout.VisibleNames(dst.path())
	if err != nil || len(names) == 0 {
		return err
	}
	for _, n := range names {
		if !dirName().MatchString(n) {
			return targetError(dst, "the directory holds %q, which is not part of an image", n)
		}
	}
	if !slices.Contains(names, dirManifest) {
		return targetError(dst, "the directory holds files but no image")
	}
	return nil
}

// publishDir writes the image in the directory format beside its place and
// swaps it in.
func (s *Stage) publishDir(ctx context.Context, im image) error {
	if err := s.complete(im); err != nil {
		return err
	}
	fresh := filepath.Join(s.work.Path, "dir")
	if err := s.buildDir(fresh, im); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	dst := s.dst.path()
	st, err := os.Stat(dst)
	switch {
	case isNotExist(err):
		if err := durable.Rename(fresh, dst); err != nil {
			return fmt.Errorf("move the directory into place: %w", err)
		}
		return nil
	case err != nil:
		return err
	}
	if err := checkDirTarget(s.dst, st); err != nil {
		return err
	}
	if dst, err = filepath.EvalSymlinks(dst); err != nil {
		return err
	}
	if err := os.Chmod(fresh, st.Mode().Perm()); err != nil {
		return fmt.Errorf("set the mode of the directory: %w", err)
	}
	if err := s.swapDir(fresh, dst); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dst))
}

func (s *Stage) buildDir(fresh string, im image) error {
	if err := os.Mkdir(fresh, 0o777); err != nil {
		return err
	}
	for _, d := range im.blobs {
		if err := os.Rename(s.blobPath(d.Digest), filepath.Join(fresh, dirBlobName(d.Digest))); err != nil {
			return err
		}
	}
	if err := durable.WriteFile(filepath.Join(fresh, dirVersionFile), []byte(dirVersion)); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(fresh, dirManifest), im.raw); err != nil {
		return err
	}
	return durable.SyncDir(fresh)
}

// swapDir exchanges the new directory with the old one, which then goes away
// with the stage. Where that cannot be done in one step, the old one is moved
// aside first.
func (s *Stage) swapDir(fresh, dst string) error {
	err := exchange(fresh, dst)
	if err == nil {
		return nil
	}
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("exchange the directory with %q: %w", dst, err)
	}
	s.c.logf("the file system of %q cannot exchange directories; replacing it in two steps", dst)
	old := filepath.Join(s.work.Path, "old")
	if err := os.Rename(dst, old); err != nil {
		return fmt.Errorf("move the old directory aside: %w", err)
	}
	if err := os.Rename(fresh, dst); err != nil {
		return errors.Join(fmt.Errorf("move the directory into place: %w", err), os.Rename(old, dst))
	}
	return nil
}
