//go:build !linux

package mirror

import (
	"errors"
	"io/fs"
	"os"
)

// lock refuses: mirrors are filled on Linux only, as boot directories are.
func (t *tree) lock() (*os.File, error) {
	return nil, errors.New("mirrors are supported on Linux only")
}

func (t *tree) exchange(_, _ string) (bool, error) { return false, nil }

func links(fs.FileInfo) uint64 { return 1 }
