package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// uploader brings blobs into a repository of a registry.
type uploader struct {
	e *endpoint
	// open gives the content of a blob from its beginning. It is called again
	// for every try; an error of it, or of what it gave, ends the upload.
	open func(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// from is another repository of the same registry that has the blobs.
	// May be empty.
	from string
	// begun gives the upload of a blob that has begun already, nil if none has.
	// May be nil.
	begun func(d digest.Digest) *headStart
}

// blob uploads a blob, unless the registry has it.
func (u *uploader) blob(ctx context.Context, d ocispec.Descriptor) error {
	c := u.e.s.c
	there, err := u.e.exists(ctx, "blobs/"+d.Digest.String(), d.Size)
	if err != nil {
		return fmt.Errorf("look for blob %s: %w", d.Digest, err)
	}
	h := u.started(d)
	if there {
		h.abandon()
	}
	if there || h != nil && u.finish(ctx, h, d) {
		c.progress(short(d.Digest), d.Size, d.Size)
		return nil
	}
	from := u.from
	for try := 1; ; try++ {
		err := u.try(ctx, d, from)
		if err == nil {
			return nil
		}
		if from != "" && mountRefused(ctx, err) {
			c.logf("mount blob %s from %q: %v; uploading it", short(d.Digest), from, err)
			from = ""
			continue
		}
		if try >= maxTries || !uploadAgain(ctx, err) {
			return fmt.Errorf("push blob %s: %w", d.Digest, err)
		}
		if err := c.backoff(ctx, try, err); err != nil {
			return err
		}
	}
}

// started gives the head start of a blob; nil if it has none.
func (u *uploader) started(d ocispec.Descriptor) *headStart {
	if u.begun == nil {
		return nil
	}
	return u.begun(d.Digest)
}

// finish ends an upload that has begun already, and tells whether that went well.
func (u *uploader) finish(ctx context.Context, h *headStart, d ocispec.Descriptor) bool {
	err := h.finish(ctx, d)
	if err == nil {
		return true
	}
	h.abandon()
	if !errors.Is(err, errTagged) {
		u.e.s.c.logf("blob %s, sent while it was packed: %v; uploading it anew", short(d.Digest), err)
	}
	return false
}

// exists asks whether the repository has a blob or manifest of that size.
func (e *endpoint) exists(ctx context.Context, part string, size int64) (bool, error) {
	req, err := e.request(ctx, http.MethodHead, part)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", acceptManifests+", */*")
	resp, err := e.Do(req)
	if err != nil {
		return false, err
	}
	drain(resp)
	return resp.StatusCode == http.StatusOK && (resp.ContentLength < 0 || resp.ContentLength == size), nil
}

// mountRefused reports whether an upload without mounting might go better:
// there are registries that answer mounts with errors, and tokens that do not
// reach to the other repository.
func mountRefused(ctx context.Context, err error) bool {
	var resp *errcode.ErrorResponse
	var denied *AuthError
	return ctx.Err() == nil && (errors.As(err, &denied) || errors.As(err, &resp) && !passing(resp.StatusCode))
}

// uploadAgain reports whether a new upload could succeed. Beside the passing
// failures these are answers that tell of an upload that was lost on the way, and
// content that a mirror gave: it comes from elsewhere the next time.
func uploadAgain(ctx context.Context, err error) bool {
	var source *sourceError
	if errors.As(err, &source) {
		return MirrorLied(err) && ctx.Err() == nil
	}
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

// try uploads one blob from its beginning, or has it mounted.
func (u *uploader) try(ctx context.Context, d ocispec.Descriptor, from string) error {
	up := &upload{u: u, ctx: ctx, d: d, e: *u.e}
	up.e.from = from
	repo := u.e.repository()
	repo.Client = up
	var err error
	if from != "" {
		err = repo.Mount(ctx, d, from, up.open)
	} else {
		var body io.ReadCloser
		if body, err = up.open(); err == nil {
			err = repo.Blobs().Push(ctx, d, body)
			_ = body.Close()
		}
	}
	// When the content failed, what the registry says about it matters less.
	if source := up.failed(); source != nil && err != nil {
		return source
	}
	return err
}

// upload is one try. It sends its requests, the one with the content only
// once: after a broken connection nobody knows how much of it the registry
// has kept, so only a new upload is safe. It can be sent again after a 401,
// though, which comes before the content counts.
type upload struct {
	u   *uploader
	ctx context.Context
	d   ocispec.Descriptor
	e   endpoint // that of u, with the right to mount

	mu     sync.Mutex
	source error
}

var _ remote.Client = (*upload)(nil)

// Do implements remote.Client.
func (up *upload) Do(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPut {
		return up.e.Do(req)
	}
	req.GetBody = up.open
	resp, err := up.e.once(req)
	if err != nil {
		return nil, err
	}
	return up.e.denied(resp)
}

func (up *upload) open() (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(up.ctx)
	r, err := up.u.open(ctx, up.d)
	if err != nil {
		cancel()
		up.fail(err)
		return nil, err
	}
	return &uploadReader{r: r, up: up, cancel: cancel}, nil
}

// sourceError is a failure to read what was to be uploaded.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func (up *upload) fail(err error) {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.source = &sourceError{err}
}

func (up *upload) failed() error {
	up.mu.Lock()
	defer up.mu.Unlock()
	return up.source
}

// uploadReader reports progress, and the failure of its source. net/http reads
// it from a goroutine that may still be at it when the registry has answered,
// so Close ends a Read that waits, which is no failure.
type uploadReader struct {
	up     *upload
	cancel context.CancelFunc
	ending atomic.Bool

	mu   sync.Mutex
	r    io.ReadCloser // nil once closed
	done int64
}

// Read implements io.Reader.
func (u *uploadReader) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.r == nil {
		return 0, fmt.Errorf("upload %s: %w", u.up.d.Digest, os.ErrClosed)
	}
	n, err := u.r.Read(p)
	if n > 0 {
		u.done += int64(n)
		u.up.u.e.s.c.progress(short(u.up.d.Digest), u.done, u.up.d.Size)
	}
	if err != nil && err != io.EOF && !u.ending.Load() {
		u.up.fail(err)
	}
	return n, err
}

// Close implements io.Closer. It may be called more than once.
func (u *uploadReader) Close() error {
	u.ending.Store(true)
	u.cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.r == nil {
		return nil
	}
	r := u.r
	u.r = nil
	return r.Close()
}
