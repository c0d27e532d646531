//go:build !linux

package hooks

import (
	"context"
	"errors"
)

// Run refuses: boot directories, and so hooks, are there on Linux only.
func (p Program) Run(context.Context, map[string]string) error {
	return &Error{Program: p.Argv[0], Err: errors.ErrUnsupported}
}
