package transport

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
)

// stageParent checks the destination and says in which directory its stage
// goes: one on the same file system, so that publishing is renaming.
func (c *Client) stageParent(dst Reference) (string, error) {
	switch dst.Transport {
	case Docker:
		return c.tempDir(), nil
	case ContainersStorage:
		return "", storageReadOnly(dst)
	}
	st, err := os.Stat(dst.path())
	if isNotExist(err) {
		return nearestDir(filepath.Dir(dst.path()))
	}
	if err != nil {
		return "", fmt.Errorf("look at %q: %w", dst, err)
	}
	switch dst.Transport {
	case OCIArchive:
		if err := checkArchiveTarget(dst, st); err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(dst.path())
		return filepath.Dir(real), err
	case Dir:
		if err := checkDirTarget(dst, st); err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(dst.path())
		return filepath.Dir(real), err
	default:
		raw, err := checkLayoutTarget(dst, st)
		if err == nil && raw != nil {
			// The same edit as at the end, so that it fails now and not after hours.
			_, err = ocilayout.SetEntry(raw, ocilayout.Entry(ocispec.Descriptor{}, dst.Tag))
		}
		return dst.path(), err
	}
}

// targetError says that a destination is something that must not be replaced.
func targetError(dst Reference, format string, a ...any) error {
	return &refusedTarget{fmt.Sprintf("will not write to %q: %s", dst, fmt.Sprintf(format, a...))}
}

type refusedTarget struct{ msg string }

func (e *refusedTarget) Error() string { return e.msg }
func (e *refusedTarget) Hint() string  { return "name another destination, or remove what is there" }

// checkLayoutTarget allows a layout that can be added to, and gives its
// index.json, and what can become a layout; then the bytes are nil.
func checkLayoutTarget(dst Reference, st os.FileInfo) ([]byte, error) {
	if !st.IsDir() {
		return nil, targetError(dst, "it is not a directory")
	}
	raw, err := ocilayout.ReadTarget(dst.path())
	switch {
	case errors.Is(err, ocilayout.ErrForeign):
		return nil, targetError(dst, "%v", err)
	case err != nil:
		return nil, fmt.Errorf("read %q: %w", dst, err)
	}
	return raw, nil
}

// nearestDir gives the first directory at or above dir that exists.
func nearestDir(dir string) (string, error) {
	for {
		st, err := os.Stat(dir)
		if err == nil {
			if !st.IsDir() {
				return "", fmt.Errorf("%q is not a directory", dir)
			}
			return dir, nil
		}
		if !isNotExist(err) || dir == filepath.Dir(dir) {
			return "", fmt.Errorf("look for a directory: %w", err)
		}
		dir = filepath.Dir(dir)
	}
}
