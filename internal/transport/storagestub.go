//go:build !linux || !containers_image_openpgp || (cgo && !exclude_graphdriver_btrfs)

package transport

import (
	"context"
	"fmt"
)

// storagePool is empty where container storage cannot be read: the library for
// it needs Linux, and C headers unless tags say otherwise.
type storagePool struct{}

func (*storagePool) close() error { return nil }

func (c *Client) openStorage(_ context.Context, ref Reference) (Source, error) {
	return nil, &noStorageError{ref}
}

func (c *Client) storageTags(_ context.Context, ref Reference) ([]string, error) {
	return nil, &noStorageError{ref}
}

// noStorageError says that this program cannot read container storage.
type noStorageError struct{ ref Reference }

// Error says what was asked for.
func (e *noStorageError) Error() string {
	return fmt.Sprintf("open %q: this binary was built without containers-storage:", e.ref)
}

// Hint names two ways around it.
func (e *noStorageError) Hint() string {
	return "build it for Linux with CGO_ENABLED=0 and the tag containers_image_openpgp, or copy the image to a layout: podman push NAME oci:DIR:NAME"
}
