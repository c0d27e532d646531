package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
)

const (
	// headStartFrom is how large a blob must have grown to be worth a head start.
	headStartFrom = 16 << 20
	// abandonPatience is how long a registry may take to forget an upload.
	abandonPatience = 5 * time.Second
)

// headStart uploads a blob while it is still being written, so that packing and
// uploading share the time and the processors.
//
// Whether the registry has the blob already can be asked only when its digest is
// known. A tag that exists is often built again from what it was built from, so it
// gets no head start. If the registry has the blob nevertheless, the upload is given
// up: what was sent in vain took no time, and is no more than the line carried while
// the blob was made. A head start may fail at any point; the blob is in the stage,
// and goes up from there as all others do.
type headStart struct {
	e      *endpoint
	body   *growingFile
	ctx    context.Context
	cancel context.CancelFunc

	done  chan struct{}
	begun *url.URL // where the upload is; valid after done
	at    *url.URL // where it ends with the next request; valid after done
	err   error    // valid after done
}

var (
	// errFinished says that an upload has come to its end and is of no more use.
	errFinished = errors.New("the upload was finished before")
	errTagged   = errors.New("the tag exists already")
)

// newHeadStart begins to upload the file name, that is being written.
func newHeadStart(ctx context.Context, e *endpoint, name string) (*headStart, error) {
	body, err := openGrowing(name)
	if err != nil {
		return nil, err
	}
	h := &headStart{e: e, body: body, done: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(h.ctx, func() { _ = body.Close() })
	go func() {
		defer close(h.done)
		defer stop()
		h.err = h.send()
		_ = body.Close()
	}()
	return h, nil
}

func (h *headStart) send() error {
	if err := h.untagged(); err != nil {
		return err
	}
	req, err := h.e.request(h.ctx, http.MethodPost, "blobs/uploads/")
	if err != nil {
		return err
	}
	if h.begun, err = h.step(req); err != nil {
		return err
	}
	req, err = http.NewRequestWithContext(h.ctx, http.MethodPatch, h.begun.String(), h.body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	h.at, err = h.step(req)
	return err
}

// untagged fails unless the tag does not exist yet.
func (h *headStart) untagged() error {
	req, err := h.e.request(h.ctx, http.MethodHead, "manifests/"+h.e.s.ref.Tag)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", acceptManifests)
	resp, err := h.e.once(req)
	if err == nil {
		resp, err = h.e.denied(resp)
	}
	if err != nil {
		return err
	}
	drain(resp)
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil
	case http.StatusOK:
		return errTagged
	}
	return statusError(resp)
}

// step sends a request of the upload, and tells where the next one goes.
func (h *headStart) step(req *http.Request) (*url.URL, error) {
	resp, err := h.e.once(req)
	if err != nil {
		return nil, err
	}
	if resp, err = h.e.denied(resp); err != nil {
		return nil, err
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusAccepted {
		return nil, statusError(resp)
	}
	at, err := resp.Location()
	if err != nil {
		return nil, err
	}
	if sent := resp.Request.URL; !httpclient.SameOrigin(at, sent) || !strings.EqualFold(sent.Host, h.e.address()) {
		return nil, fmt.Errorf("the upload goes on at %q, not at %q", at.Scheme+"://"+at.Host, sent.Scheme+"://"+sent.Host)
	}
	return at, nil
}

// grown says how much of the blob was written; nil for no head start is fine.
func (h *headStart) grown(size int64, whole bool) {
	if h != nil {
		h.body.grown(size, whole)
	}
}

// running tells whether it still sends.
func (h *headStart) running() bool {
	if h == nil {
		return false
	}
	select {
	case <-h.done:
		return false
	default:
		return true
	}
}

// finish names the blob that was uploaded. It waits for the rest of it.
func (h *headStart) finish(ctx context.Context, d ocispec.Descriptor) error {
	h.body.tell(func(at int64) { h.e.s.c.progress(short(d.Digest), at, d.Size) })
	select {
	case <-h.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.err != nil {
		return h.err
	}
	q := h.at.Query()
	q.Set("digest", d.Digest.String())
	h.at.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, h.at.String(), nil)
	if err != nil {
		return err
	}
	resp, err := h.e.once(req)
	if err == nil {
		resp, err = h.e.denied(resp)
	}
	if err != nil {
		return err
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusCreated {
		return statusError(resp)
	}
	h.begun, h.err = nil, errFinished
	return nil
}

// abandon ends an upload that was not finished, and asks the registry to forget
// it. It may be called more than once, and for nil.
func (h *headStart) abandon() {
	if h == nil {
		return
	}
	h.cancel()
	<-h.done
	if h.begun == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(h.ctx), abandonPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, h.begun.String(), nil)
	if err == nil {
		var resp *http.Response
		if resp, err = h.e.once(req); err == nil {
			drain(resp)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		h.e.s.c.logf("forget an upload: %v", err)
	}
	h.begun = nil
}

// headStarts are those of a stage.
type headStarts struct {
	mu   sync.Mutex
	last *headStart
	all  map[digest.Digest]*headStart
}

// headStart begins to upload a blob that is being written, unless another is on
// the line; nil where there is none.
func (s *Stage) headStart(ctx context.Context, name string) *headStart {
	s.ahead.mu.Lock()
	defer s.ahead.mu.Unlock()
	if s.dst.Tag == "" || s.ahead.last.running() {
		return nil
	}
	e, err := s.registry()
	if err == nil {
		s.ahead.last, err = newHeadStart(ctx, e, name)
	}
	if err != nil {
		s.c.logf("upload while packing: %v", err)
		return nil
	}
	return s.ahead.last
}

// add remembers the head start of a blob, if it had one.
func (a *headStarts) add(d digest.Digest, h *headStart) {
	if h != nil && !a.keep(d, h) {
		h.abandon() // the same blob twice; it asks the registry, so without the lock
	}
}

func (a *headStarts) keep(d digest.Digest, h *headStart) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all[d] != nil {
		return false
	}
	if a.all == nil {
		a.all = map[digest.Digest]*headStart{}
	}
	a.all[d] = h
	return true
}

// of gives the head start of a blob; nil if it had none.
func (a *headStarts) of(d digest.Digest) *headStart {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[d]
}

// abandon gives up all that were not finished.
func (a *headStarts) abandon() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.all {
		h.abandon()
	}
}
