//go:build !containers_image_openpgp

package trust

import (
	"context"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/types"
)

// ContainersPolicy is a policy.json, which this build cannot apply.
type ContainersPolicy struct{}

// OpenContainersPolicy refuses: the library for it needs C headers unless a tag
// says otherwise.
func OpenContainersPolicy(string) (*ContainersPolicy, error) { return nil, errNoPolicy }

// ID names nothing.
func (*ContainersPolicy) ID() string { return "" }

// Verify refuses.
func (*ContainersPolicy) Verify(context.Context, *types.SystemContext, string, string, digest.Digest) (*Evidence, error) {
	return nil, errNoPolicy
}
