package ocilayout

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/nbpack/nbpack/spec"
)

// Files is the read side of a store of named, regular files, a [Dir] or an [Archive].
// Names are slash separated and relative.
type Files interface {
	// Open gives the content and the size. The error wraps fs.ErrNotExist when
	// there is no such file, and is a *spec.Refusal for what is no regular file.
	Open(name string) (io.ReadCloser, int64, error)
	// List gives all that is no directory, in any order; of a directory on the disk not
	// what lies in hidden ones at its top.
	List() ([]File, error)
	// Close ends all access to them.
	Close() error
}

// File is a file of a layout.
type File struct {
	Name string // relative to the layout, with slashes
	Size int64  // -1 for what is no regular file
}

// ReadFile reads a small file of at most spec.MaxManifestSize bytes. A larger one is
// refused.
func ReadFile(f Files, name string) ([]byte, error) {
	r, size, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleDocumentSize, name, "%d bytes are over the limit of %d", size, spec.MaxManifestSize)
	}
	b, err := io.ReadAll(io.LimitReader(r, spec.MaxManifestSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, err)
	}
	if len(b) > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleDocumentSize, name, "file is over the limit of %d bytes", spec.MaxManifestSize)
	}
	return b, nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
