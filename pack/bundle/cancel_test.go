package bundle

import (
	"context"
	"errors"
	"testing"

	"github.com/nbpack/nbpack/internal/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// endsRun is a place without the manifest, in which the run ends meanwhile.
type endsRun struct {
	transport.Source
	cancel func()
}

func (e endsRun) Manifest(context.Context, ocispec.Descriptor) ([]byte, string, error) {
	e.cancel()
	return nil, "", &transport.NotFoundError{Ref: "oci:work", What: "a manifest"}
}

// TestCancelledIsNotAbsent: a run that is ended says so, whatever it was looking for.
func TestCancelledIsNotAbsent(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newCollector(nil, nil, &work{src: endsRun{cancel: cancel}}, Options{})
	if _, _, err := c.document(ctx, nil, ocispec.Descriptor{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a manifest that is not there yet: %v", err)
	}
	if err := c.collect(ctx, make([]image, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("images that were not begun: %v", err)
	}
}
