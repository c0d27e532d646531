package transport

import (
	"context"
	"fmt"
	"io"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// parallelUploads is how many blobs go up at once.
const parallelUploads = 3

// publishRegistry uploads the blobs that the registry lacks, then the
// manifest under its tag: the one request that makes the image visible.
func (s *Stage) publishRegistry(ctx context.Context, im image) error {
	s.finish()
	e, err := s.registry()
	if err != nil {
		return err
	}
	up := &uploader{e: e, begun: s.ahead.of, open: func(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
		return os.Open(s.blobPath(d.Digest))
	}}
	supply := func(ctx context.Context) error { return up.all(ctx, im.blobs) }
	if err := supply(ctx); err != nil {
		return err
	}
	name := s.dst.Tag
	if name == "" {
		name = im.manifest.Digest.String()
	}
	if err := s.c.pushManifest(ctx, e.repository(), im.manifest, im.raw, name, supply); err != nil {
		return fmt.Errorf("push the manifest: %w", err)
	}
	return nil
}

// registry is where the image will go.
func (s *Stage) registry() (*endpoint, error) {
	return (&session{c: s.c, ref: s.dst, push: true}).primary()
}

// all brings in several blobs.
func (u *uploader) all(ctx context.Context, blobs []ocispec.Descriptor) error {
	if len(blobs) == 0 {
		return nil
	}
	// The first alone: it finds out about scheme and token for all.
	if err := u.blob(ctx, blobs[0]); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelUploads)
	for _, d := range blobs[1:] {
		g.Go(func() error { return u.blob(gctx, d) })
	}
	return g.Wait()
}
