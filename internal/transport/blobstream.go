package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"
)

const (
	// maxBreaks is how often a download may break before it is given up …
	maxBreaks = 5
	// … and progress is what makes a new start: a bad line over which
	// something comes is better than none.
	progress = 8 << 20
)

// Blob implements Source. The `urls` of a descriptor are never followed: they
// would let an image choose what this machine connects to.
func (r *registrySource) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDescriptor(d, false); err != nil {
		return nil, err
	}
	named, err := reference.WithDigest(reference.TrimNamed(r.named), d.Digest)
	if err != nil {
		return nil, fmt.Errorf("fetch blob: %w", err)
	}
	eps, err := r.s.endpoints(named)
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.bound(ctx)
	b := &blobStream{r: r, ctx: ctx, cancel: cancel, d: d, eps: eps}
	if err := b.connect(); err != nil {
		cancel()
		return nil, fmt.Errorf("fetch blob from %q: %w", r.s.ref, err)
	}
	return newVerifyReader(b, d), nil
}

// blobStream downloads a blob and goes on where a connection broke. It does
// not verify: the digest over everything that it delivered does.
type blobStream struct {
	r      *registrySource
	ctx    context.Context
	cancel context.CancelFunc
	d      ocispec.Descriptor
	eps    []*endpoint // those not given up yet

	body    io.ReadCloser
	off     int64 // bytes delivered
	breaks  int
	since   int64 // off at the last break
	noRange bool  // this endpoint answered a range with something else
}

// connect opens the body at the current offset, on the first endpoint that
// can give it.
func (b *blobStream) connect() error {
	for {
		err := b.connectTo(b.eps[0])
		if err == nil || b.ctx.Err() != nil || len(b.eps) == 1 || errors.Is(err, errBroken) {
			return err
		}
		b.r.s.c.logf("mirror %q: %v; trying the next", b.eps[0].host, err)
		b.eps, b.noRange = b.eps[1:], false
	}
}

func (b *blobStream) connectTo(e *endpoint) error {
	req, err := e.request(b.ctx, http.MethodGet, "blobs/"+b.d.Digest.String())
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if b.off > 0 && !b.noRange {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.off, b.d.Size-1))
	}
	resp, err := e.Do(req)
	if err != nil {
		return err
	}
	if err := b.begin(resp); err != nil {
		_ = resp.Body.Close()
		return err
	}
	b.body = resp.Body
	return nil
}

// begin checks the head of an answer and brings its body to the offset.
func (b *blobStream) begin(resp *http.Response) error {
	id := b.d.Digest.String()
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return spec.Refuse(ruleSize, id, "registry answers with the content encoding %q", enc)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if n := resp.ContentLength; n >= 0 && n != b.d.Size {
			return spec.Refuse(ruleSize, id, "registry has %d bytes, the descriptor says %d", n, b.d.Size)
		}
		// The server knows no ranges: read again what was delivered already.
		// Were it different now, the digest would not come out right.
		if n, err := io.CopyN(io.Discard, resp.Body, b.off); err != nil {
			return fmt.Errorf("%w at byte %d of %d: %w", errBroken, n, b.d.Size, err)
		}
		return nil
	case http.StatusPartialContent:
		var from, to, total int64
		h := resp.Header.Get("Content-Range")
		n, _ := fmt.Sscanf(h, "bytes %d-%d/%d", &from, &to, &total)
		if n < 2 || b.off == 0 || from != b.off || to != b.d.Size-1 || n == 3 && total != b.d.Size {
			b.noRange = true
			return fmt.Errorf("%w: asked for bytes from %d, got %q", errBroken, b.off, h)
		}
		return nil
	case http.StatusRequestedRangeNotSatisfiable:
		return spec.Refuse(ruleSize, id, "registry has fewer bytes than the %d of the descriptor", b.d.Size)
	case http.StatusNotFound:
		return &NotFoundError{Ref: b.r.s.ref.String(), What: "blob " + id}
	}
	return statusError(resp)
}

// Read implements io.Reader.
func (b *blobStream) Read(p []byte) (int, error) {
	for {
		// Closing the Source cancels ctx too, but from another goroutine.
		if err := cmp.Or(b.ctx.Err(), b.r.done.Err()); err != nil {
			return 0, err
		}
		if b.body == nil {
			err := b.connect()
			if errors.Is(err, errBroken) {
				if err := b.broke(err); err != nil {
					return 0, err
				}
				continue
			}
			if err != nil {
				return 0, fmt.Errorf("fetch blob %s: %w", b.d.Digest, err)
			}
		}
		n, err := b.body.Read(p)
		b.off += int64(n)
		if n > 0 {
			b.r.s.c.progress(short(b.d.Digest), min(b.off, b.d.Size), b.d.Size)
			return n, nil // the error comes again
		}
		if err == nil {
			continue
		}
		if b.off >= b.d.Size {
			return 0, io.EOF
		}
		_ = b.body.Close()
		b.body = nil
		if err := b.broke(fmt.Errorf("%w at byte %d of %d: %w", errBroken, b.off, b.d.Size, err)); err != nil {
			return 0, err
		}
	}
}

// broke notes a break and waits before the next connection.
func (b *blobStream) broke(cause error) error {
	if b.off-b.since >= progress {
		b.breaks = 0
	}
	b.since = b.off
	b.breaks++
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if b.breaks > maxBreaks {
		return fmt.Errorf("fetch blob %s: gave up after %d breaks: %w", b.d.Digest, maxBreaks, cause)
	}
	return b.r.s.c.backoff(b.ctx, b.breaks, cause)
}

// Close implements io.Closer.
func (b *blobStream) Close() error {
	defer b.cancel()
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}
