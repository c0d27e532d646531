package transport

import (
	"bytes"
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
	if err := s.finish(); err != nil {
		return err
	}
	sess := &session{c: s.c, ref: s.dst, push: true}
	e, err := sess.primary()
	if err != nil {
		return err
	}
	up := &uploader{e: e, open: func(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
		return os.Open(s.blobPath(d.Digest))
	}}
	if len(im.blobs) > 0 {
		// The first alone: it finds out about scheme and token for all.
		if err := up.blob(ctx, im.blobs[0]); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelUploads)
	for _, d := range im.blobs[min(1, len(im.blobs)):] {
		g.Go(func() error { return up.blob(gctx, d) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	name := s.dst.Tag
	if name == "" {
		name = im.manifest.Digest.String()
	}
	// oras-go compares the digest that the registry answers with.
	if err := e.repository().PushReference(ctx, im.manifest, bytes.NewReader(im.raw), name); err != nil {
		return fmt.Errorf("push the manifest: %w", err)
	}
	return nil
}
