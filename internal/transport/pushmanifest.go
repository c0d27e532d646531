package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// pushManifest uploads a manifest under a tag or digest. There are registries
// that answer, while another client uploads the same blob, that they do not
// know a blob which they had confirmed before. Then supply looks after what the
// manifest needs, and the manifest is sent again.
func (c *Client) pushManifest(ctx context.Context, repo *remote.Repository, d ocispec.Descriptor, raw []byte, name string, supply func(context.Context) error) error {
	for try := 1; ; try++ {
		// oras-go compares the digest that the registry answers with.
		err := repo.PushReference(ctx, d, bytes.NewReader(raw), name)
		if err == nil || try == maxTries || !contentUnknown(err) {
			return err
		}
		if err := c.backoff(ctx, try, err); err != nil {
			return err
		}
		if err := supply(ctx); err != nil {
			return fmt.Errorf("supply what the registry misses: %w", err)
		}
	}
}

// contentUnknown reports whether a registry refused a manifest because it does
// not know something that the manifest names (distribution specification,
// error codes).
func contentUnknown(err error) bool {
	var resp *errcode.ErrorResponse
	if !errors.As(err, &resp) || resp.StatusCode != http.StatusBadRequest && resp.StatusCode != http.StatusNotFound {
		return false
	}
	for _, e := range resp.Errors {
		switch e.Code {
		case errcode.ErrorCodeManifestBlobUnknown, errcode.ErrorCodeBlobUnknown, errcode.ErrorCodeManifestUnknown:
			return true
		}
	}
	return false
}
