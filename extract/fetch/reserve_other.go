//go:build !linux

package fetch

import "os"

// reserve does nothing where there is no fallocate.
func reserve(*os.File, int64) error { return nil }
