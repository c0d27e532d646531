//go:build !linux

package transport

import "errors"

// exchange swaps two directories in one step; here nothing can do that.
func exchange(_, _ string) error { return errors.ErrUnsupported }
