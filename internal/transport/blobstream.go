package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport/byterange"
	"github.com/nbpack/nbpack/spec"
)

// Resumer is a [Source] that can go on with a blob whose beginning an earlier
// run has kept.
type Resumer interface {
	// ResumeBlob is as Blob, but streams have first, hashing it anew, and asks
	// for the rest only. have may hold everything, which takes no request; an
	// error on reading it ends it. When have was not the beginning of the blob
	// the stream ends with a *spec.Refusal, and Blob is the way left.
	ResumeBlob(ctx context.Context, d ocispec.Descriptor, have io.Reader) (io.ReadCloser, error)
}

// Resume is the ResumeBlob method of src. Where it has none it is Blob: a
// source that does not lie behind a network has nothing to resume.
func Resume(ctx context.Context, src Source, d ocispec.Descriptor, have io.Reader) (io.ReadCloser, error) {
	if r, ok := src.(Resumer); ok {
		return r.ResumeBlob(ctx, d, have)
	}
	return src.Blob(ctx, d)
}

// Blob implements Source. The `urls` of a descriptor are followed only to hosts
// that the user allows: they let an image choose what this machine connects to.
func (r *registrySource) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	b, err := r.newBlobStream(ctx, d)
	if err != nil {
		return nil, err
	}
	if err := b.connect(); err != nil {
		b.cancel()
		return nil, fmt.Errorf("fetch blob from %q: %w", r.s.ref, err)
	}
	if d.Size <= maxHeld && len(b.used) > 0 {
		return r.holdBlob(ctx, b)
	}
	return b.verified(), nil
}

// ResumeBlob implements Resumer.
func (r *registrySource) ResumeBlob(ctx context.Context, d ocispec.Descriptor, have io.Reader) (io.ReadCloser, error) {
	b, err := r.newBlobStream(ctx, d)
	if err != nil {
		return nil, err
	}
	b.have, b.resumed = have, true
	return b.verified(), nil
}

func (r *registrySource) newBlobStream(ctx context.Context, d ocispec.Descriptor) (*blobStream, error) {
	if err := checkDescriptor(d, false); err != nil {
		return nil, err
	}
	eps, err := r.blobPlaces(ctx, d)
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.bound(ctx)
	return &blobStream{r: r, ctx: ctx, cancel: cancel, d: d, eps: eps}, nil
}

// blobStream downloads a blob and goes on where a connection broke. It does
// not verify: the digest over everything that it delivered does.
type blobStream struct {
	r      *registrySource
	ctx    context.Context
	cancel context.CancelFunc
	d      ocispec.Descriptor
	eps    []*endpoint // those not given up yet

	have     io.Reader // the beginning, from an earlier run; nil when used up
	body     io.ReadCloser
	off      int64 // bytes delivered
	patience patience
	noRange  bool // this endpoint answered a range with something else

	used    []string // mirrors that gave some of it
	resumed bool     // the beginning is of an earlier run
	home    error    // why the registry does not have it
}

// verified is the stream with its proof.
func (b *blobStream) verified() io.ReadCloser { return &mirrored{newVerifyReader(b, b.d), b} }

// connect opens the body at the current offset, on the first endpoint that
// can give it.
func (b *blobStream) connect() error {
	for {
		err := b.connectTo(b.eps[0])
		if err == nil || b.ctx.Err() != nil || errors.Is(err, errBroken) && !b.mayLeave() {
			return err
		}
		if len(b.eps) == 1 {
			return joinHome(b.home, err)
		}
		b.leave(err)
	}
}

// joinHome adds the error of the last place to that of the registry, which counts
// more.
func joinHome(home, err error) error {
	if home == nil {
		return err
	}
	return fmt.Errorf("%w; %w", home, err)
}

// mayLeave tells whether a place that breaks off is left at once, because another
// is meant to have the same.
func (b *blobStream) mayLeave() bool { return len(b.eps) > 1 && b.eps[0].fixed != nil }

// leave goes on to the next place.
func (b *blobStream) leave(err error) {
	if b.eps[0].mirror == "" {
		b.home = err
	}
	b.eps[0].elsewhere(err)
	b.eps, b.noRange = b.eps[1:], false
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
	b.r.s.c.doubt(e, b.d.Digest, req)
	began := time.Now()
	resp, err := e.Do(req)
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := b.begin(resp); err != nil {
		_ = resp.Body.Close()
		return err
	}
	b.body, b.used = resp.Body, b.r.s.c.use(b.used, e, b.d.Digest, resp)
	if e.fixed != nil {
		b.r.s.c.health.Answered(e.mirror, took)
	}
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
		h := resp.Header.Get("Content-Range")
		r, err := byterange.ParseContentRange(h)
		if err != nil || b.off == 0 || r.From != b.off || r.To != b.d.Size || r.Total >= 0 && r.Total != b.d.Size {
			b.noRange = true
			return fmt.Errorf("%w: asked for bytes from %d, got %q", errBroken, b.off, h)
		}
		return nil
	case http.StatusRequestedRangeNotSatisfiable:
		return spec.Refuse(ruleSize, id, "registry has fewer bytes than the %d of the descriptor", b.d.Size)
	case http.StatusNotFound:
		return &NotFoundError{Ref: b.r.s.ref.String(), What: "blob " + id, advice: b.r.s.urlAdvice(b.d)}
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
		if n := b.recall(p); n > 0 {
			return n, nil
		}
		if b.body == nil {
			if b.off > 0 && b.off == b.d.Size {
				return 0, io.EOF // all of it was there
			}
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
		err = fmt.Errorf("%w at byte %d of %d: %w", errBroken, b.off, b.d.Size, err)
		if b.ctx.Err() == nil && b.mayLeave() {
			b.leave(err)
			continue
		}
		if err := b.broke(err); err != nil {
			return 0, err
		}
	}
}

// recall reads what an earlier run has kept. Where that cannot be read any
// more, the network goes on.
func (b *blobStream) recall(p []byte) int {
	for b.have != nil {
		n, err := b.have.Read(p)
		b.off += int64(n)
		if err != nil {
			b.have = nil
		}
		if n > 0 {
			b.r.s.c.progress(short(b.d.Digest), min(b.off, b.d.Size), b.d.Size)
			return n
		}
	}
	return 0
}

func (b *blobStream) broke(cause error) error {
	return b.patience.broke(b.ctx, b.r.s.c, b.d.Digest, b.off, cause)
}

// Close implements io.Closer.
func (b *blobStream) Close() error {
	defer b.cancel()
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}
