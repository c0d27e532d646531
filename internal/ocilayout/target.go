package ocilayout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// BundleWork is the directory at the top of a layout in which a bundle grows, out
// of sight. It stays when the writer is killed, so that the next one goes on.
const BundleWork = ".nbpack-bundle"

// ErrForeign says that a directory holds something else than a layout.
var ErrForeign = errors.New("the directory holds files but is not an OCI layout")

// ReadTarget gives the index.json of a layout that can be added to. The bytes are nil
// for a directory that can become a layout; what holds other files is [ErrForeign].
func ReadTarget(dir string) ([]byte, error) {
	index, _, err := readTarget(dir)
	return index, err
}

// readTarget gives the mode of index.json, too.
func readTarget(dir string) ([]byte, os.FileMode, error) {
	f, err := OpenDir(dir)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	names, err := VisibleNames(dir)
	if err != nil || canBecomeLayout(names) {
		return nil, 0, err
	}
	if _, err := f.root.Lstat(ocispec.ImageLayoutFile); isNotExist(err) {
		return nil, 0, ErrForeign
	}
	_, index, err := ReadIndex(f)
	if err != nil {
		return nil, 0, err
	}
	// Where blobs go, found wrong now, costs no build.
	if st, err := f.root.Lstat(ocispec.ImageBlobsDir); err == nil && !st.IsDir() {
		return nil, 0, noDirectory(filepath.Join(dir, ocispec.ImageBlobsDir))
	}
	st, err := f.root.Stat(ocispec.ImageIndexFile)
	if err != nil {
		return nil, 0, err
	}
	return index, st.Mode().Perm(), nil
}

// canBecomeLayout allows an empty directory, and a new layout whose writer was
// killed before it had written index.json: nothing refers to what it holds.
func canBecomeLayout(names []string) bool {
	for _, n := range names {
		if n != ocispec.ImageBlobsDir && n != ocispec.ImageLayoutFile {
			return false
		}
	}
	return len(names) == 0 || slices.Contains(names, ocispec.ImageLayoutFile)
}

// VisibleNames lists a directory without the stages in it, and without what a writer
// of a bundle keeps there until it is done.
func VisibleNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), StagePrefix) && e.Name() != BundleWork {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
