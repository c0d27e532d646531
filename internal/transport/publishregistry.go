package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/registry/remote/errcode"
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
	if len(im.blobs) > 0 {
		// The first alone: it finds out about scheme and token for all.
		if err := s.pushBlob(ctx, e, im.blobs[0]); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelUploads)
	for _, d := range im.blobs[min(1, len(im.blobs)):] {
		g.Go(func() error { return s.pushBlob(gctx, e, d) })
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

func (s *Stage) pushBlob(ctx context.Context, e *endpoint, d ocispec.Descriptor) error {
	req, err := e.request(ctx, http.MethodHead, "blobs/"+d.Digest.String())
	if err != nil {
		return err
	}
	resp, err := e.Do(req)
	if err != nil {
		return fmt.Errorf("look for blob %s: %w", d.Digest, err)
	}
	drain(resp)
	if resp.StatusCode == http.StatusOK && (resp.ContentLength < 0 || resp.ContentLength == d.Size) {
		s.c.progress(short(d.Digest), d.Size, d.Size)
		return nil
	}
	for try := 1; ; try++ {
		err := s.tryPush(ctx, e, d)
		if err == nil {
			return nil
		}
		if try == maxTries || !uploadAgain(ctx, err) {
			return fmt.Errorf("push blob %s: %w", d.Digest, err)
		}
		if err := s.c.backoff(ctx, try, err); err != nil {
			return err
		}
	}
}

// uploadAgain reports whether a new upload could succeed. Beside the passing
// failures these are answers that tell of an upload that was lost on the way.
func uploadAgain(ctx context.Context, err error) bool {
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) {
		switch resp.StatusCode {
		case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
			return ctx.Err() == nil
		}
		return ctx.Err() == nil && passing(resp.StatusCode)
	}
	return !isFinal(ctx, err)
}

// tryPush uploads one blob from its beginning.
func (s *Stage) tryPush(ctx context.Context, e *endpoint, d ocispec.Descriptor) error {
	open := func() (io.ReadCloser, error) {
		f, err := os.Open(s.blobPath(d.Digest))
		if err != nil {
			return nil, refuse("open staged blob: %v", err)
		}
		return &uploadReader{ReadCloser: f, s: s, d: d}, nil
	}
	body, err := open()
	if err != nil {
		return err
	}
	defer body.Close()
	repo := e.repository()
	repo.Client = &uploadClient{e, open}
	return repo.Blobs().Push(ctx, d, body)
}

// uploadClient sends the requests of an upload. The one with the content is
// sent once: after a broken connection nobody knows how much of it the
// registry has kept, so only a new upload is safe. It can be sent again after
// a 401, though, which comes before the content counts.
type uploadClient struct {
	e    *endpoint
	open func() (io.ReadCloser, error)
}

// Do implements remote.Client.
func (u *uploadClient) Do(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPut {
		return u.e.Do(req)
	}
	req.GetBody = u.open
	resp, err := u.e.once(req)
	if err != nil {
		return nil, err
	}
	return u.e.denied(resp)
}

// uploadReader reports progress.
type uploadReader struct {
	io.ReadCloser
	s    *Stage
	d    ocispec.Descriptor
	done int64
}

// Read implements io.Reader.
func (u *uploadReader) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if n > 0 {
		u.done += int64(n)
		u.s.c.progress(short(u.d.Digest), u.done, u.d.Size)
	}
	return n, err
}
