//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/storage"
)

// storageSource reads an image that podman, buildah or skopeo put into
// container storage. See deriver for what it says about compressed layers.
type storageSource struct {
	c     *Client
	ref   Reference
	store *imageStore
	done  context.Context
	end   context.CancelFunc

	mu      sync.Mutex
	derived map[digest.Digest][]byte
}

func (c *Client) openStorage(ctx context.Context, ref Reference) (Source, error) {
	s, err := c.storage.open(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	done, end := context.WithCancel(context.Background())
	return &storageSource{c: c, ref: ref, store: s, done: done, end: end, derived: map[digest.Digest][]byte{}}, nil
}

func (c *Client) storageTags(ctx context.Context, ref Reference) ([]string, error) {
	s, err := c.storage.open(ctx, c, ref)
	if err != nil {
		return nil, err
	}
	return await(ctx, func() ([]string, error) { return s.tags(c.sys, ref) }, nil)
}

// Usage implements Source: nothing goes over the network.
func (*storageSource) Usage() Usage { return Usage{} }

// Scheme implements Source.
func (*storageSource) Scheme() string { return "" }

// Close implements Source. The store stays open for others, until the client
// closes.
func (s *storageSource) Close() error {
	s.end()
	return nil
}

// bound ties a context to the Source: closing it ends what goes on.
func (s *storageSource) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.done, cancel)
	return ctx, func() { stop(); cancel() }
}

// Resolve implements Source. The image is looked up anew every time.
func (s *storageSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return await(ctx, func() (ocispec.Descriptor, error) { return s.resolve(ctx) }, nil)
}

func (s *storageSource) resolve(ctx context.Context) (ocispec.Descriptor, error) {
	img, err := s.store.image(s.c.sys, s.ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	key := storage.ImageDigestBigDataKey
	if s.ref.Digest != "" {
		key = manifestOf(img, s.ref.Digest)
	}
	body, err := s.store.document(img, key)
	if err != nil {
		return ocispec.Descriptor{}, storageError(s.ref, err)
	}
	if s.ref.Digest != "" && s.ref.Digest.Algorithm().FromBytes(body) != s.ref.Digest {
		return ocispec.Descriptor{}, spec.Refuse(ruleDigest, s.ref.Digest.String(), "manifest does not have this digest")
	}
	d, _, err := (&deriver{ctx: ctx, store: s.store, keep: s.remember}).document(body, 1)
	if err != nil {
		return d, storageError(s.ref, err)
	}
	if was := digest.FromBytes(body); was != d.Digest {
		s.c.logf("%q: manifest %s with the layers as container storage has them is %s", s.ref, was, d.Digest)
	}
	return d, nil
}

func (s *storageSource) remember(d digest.Digest, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.derived[d] = body
}

func (s *storageSource) remembered(d digest.Digest) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.derived[d]
}

// Manifest implements Source. Beside the manifests of the store it gives those
// that were derived from the image of the reference.
func (s *storageSource) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if err := checkDescriptor(d, true); err != nil {
		return nil, "", err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	body, err := await(ctx, func() ([]byte, error) { return s.manifest(ctx, d.Digest) }, nil)
	if err != nil {
		return nil, "", err
	}
	if body, err = readManifest(bytes.NewReader(body), d); err != nil {
		return nil, "", fmt.Errorf("read manifest from %q: %w", s.ref, err)
	}
	mt, err := manifestType(d, "", body)
	return body, mt, err
}

func (s *storageSource) manifest(ctx context.Context, d digest.Digest) ([]byte, error) {
	if body := s.remembered(d); body != nil {
		return body, nil
	}
	body, err := s.store.manifest(d)
	if err != nil {
		return nil, storageError(s.ref, err)
	}
	if body == nil {
		if _, err := s.resolve(ctx); err != nil {
			return nil, err
		}
		body = s.remembered(d)
	}
	if body == nil {
		return nil, &NotFoundError{Ref: s.ref.String(), What: "manifest " + d.String()}
	}
	return body, nil
}

// Blob implements Source. The store is locked for podman while it is read, so
// a layer is copied to a temporary file first: how fast the stream is read is
// not in our hands.
func (s *storageSource) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDescriptor(d, false); err != nil {
		return nil, err
	}
	ctx, cancel := s.bound(ctx)
	r, err := await(ctx, func() (io.ReadCloser, error) { return s.store.blob(ctx, d) }, func(r io.ReadCloser) { _ = r.Close() })
	if err != nil {
		cancel()
		var missing *NotFoundError
		if errors.As(err, &missing) {
			missing.Ref = s.ref.String()
			return nil, missing
		}
		return nil, storageError(s.ref, err)
	}
	return newVerifyReader(&boundReader{ctxReader{ctx, r}, cancel}, d), nil
}

// boundReader gives its context back when it is closed.
type boundReader struct {
	ctxReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (r *boundReader) Close() error {
	r.cancel()
	return r.ctxReader.Close()
}
