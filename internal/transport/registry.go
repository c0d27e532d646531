package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/image/v5/docker/reference"

	"github.com/nbpack/nbpack/spec"
)

// acceptManifests are the media types that this package reads, in the order
// of preference.
const acceptManifests = ocispec.MediaTypeImageIndex + ", " + ocispec.MediaTypeImageManifest +
	", application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"

// registrySource reads a repository in a registry.
type registrySource struct {
	s     *session
	named reference.Named
	done  context.Context
	end   context.CancelFunc

	mu sync.Mutex
	// got is a manifest that Resolve had to fetch to learn its digest.
	got    []byte
	gotFor digest.Digest
}

func (c *Client) openRegistry(ref Reference) (Source, error) {
	named, err := ref.named()
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", ref, err)
	}
	done, end := context.WithCancel(context.Background())
	return &registrySource{s: &session{c: c, ref: ref}, named: named, done: done, end: end}, nil
}

// Usage implements Source.
func (r *registrySource) Usage() Usage {
	return usageOf(&r.s.count)
}

// Scheme implements Source.
func (r *registrySource) Scheme() string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.scheme
}

// Close implements Source.
func (r *registrySource) Close() error {
	r.end()
	return nil
}

// bound ties a context to the Source: closing it ends what goes on.
func (r *registrySource) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.done, cancel)
	return ctx, func() { stop(); cancel() }
}

// Resolve implements Source.
func (r *registrySource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	ctx, cancel := r.bound(ctx)
	defer cancel()
	part := "manifests/" + r.s.ref.Tag
	if r.s.ref.Digest != "" {
		if _, err := spec.ParseDigest(r.s.ref.Digest.String()); err != nil {
			return ocispec.Descriptor{}, err
		}
		part = "manifests/" + r.s.ref.Digest.String()
	}
	var d ocispec.Descriptor
	err := r.eachEndpoint(ctx, r.named, func(e *endpoint) (err error) {
		d, err = r.head(ctx, e, part)
		return err
	})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("resolve %q: %w", r.s.ref, err)
	}
	return d, nil
}

// eachEndpoint tries f on the mirrors and the registry until it succeeds. The
// last error, the registry's own, is the one that counts.
func (r *registrySource) eachEndpoint(ctx context.Context, named reference.Named, f func(e *endpoint) error) error {
	all, err := r.s.endpoints(named)
	if err != nil {
		return err
	}
	for i, e := range all {
		if err = f(e); err == nil || ctx.Err() != nil {
			return err
		}
		if i+1 < len(all) {
			r.s.c.logf("mirror %q: %v; trying the next", e.host, err)
		}
	}
	return err
}

// head asks what a tag names. A registry that does not say the digest is
// asked for the manifest itself.
func (r *registrySource) head(ctx context.Context, e *endpoint, part string) (ocispec.Descriptor, error) {
	var d ocispec.Descriptor
	req, err := e.request(ctx, http.MethodHead, part)
	if err != nil {
		return d, err
	}
	req.Header.Set("Accept", acceptManifests)
	resp, err := e.Do(req)
	if err != nil {
		return d, err
	}
	drain(resp)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return d, r.missing()
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return r.getTag(ctx, e, part)
	default:
		return d, statusError(resp)
	}
	says := resp.Header.Get("Docker-Content-Digest")
	if says == "" {
		return r.getTag(ctx, e, part)
	}
	if d.Digest, err = spec.ParseDigest(says); err != nil {
		return d, err
	}
	if want := r.s.ref.Digest; want != "" && d.Digest != want {
		return d, spec.Refuse(ruleDigest, want.String(), "registry answers with the digest %s", d.Digest)
	}
	if d.MediaType, err = headerType(resp); err != nil {
		return d, err
	}
	if d.Size = resp.ContentLength; d.Size == 0 {
		d.Size = -1 // no manifest is empty: some proxies say so of every HEAD
	}
	return d, checkManifestSize(d)
}

// headerType gives the media type of a response without its parameters, and
// refuses what is not a manifest.
func headerType(resp *http.Response) (string, error) {
	h := resp.Header.Get("Content-Type")
	if h == "" {
		return "", nil
	}
	mt, _, err := mime.ParseMediaType(h)
	if err != nil || !spec.IsIndex(mt) && !spec.IsManifest(mt) {
		return "", spec.Refuse(ruleMediaType, resp.Request.URL.Path, "registry answers with the media type %q, which is neither an image manifest nor an index", h)
	}
	return mt, nil
}

func checkManifestSize(d ocispec.Descriptor) error {
	if d.Size > spec.MaxManifestSize {
		return spec.Refuse(ruleManifest, d.Digest.String(), "manifest of %d bytes is over the limit of %d", d.Size, spec.MaxManifestSize)
	}
	return nil
}

func (r *registrySource) missing() error {
	if r.s.ref.Digest != "" {
		return &NotFoundError{Ref: r.s.ref.String(), What: "manifest " + r.s.ref.Digest.String()}
	}
	return &NotFoundError{Ref: r.s.ref.String(), What: fmt.Sprintf("tag %q", r.s.ref.Tag)}
}

// getTag resolves by fetching; the digest is computed here, not believed.
func (r *registrySource) getTag(ctx context.Context, e *endpoint, part string) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{Size: -1}
	b, header, err := r.getManifest(ctx, e, part, -1)
	if err != nil {
		return d, err
	}
	d.Digest = digest.FromBytes(b)
	if want := r.s.ref.Digest; want != "" {
		if d.Digest = want.Algorithm().FromBytes(b); d.Digest != want {
			return d, spec.Refuse(ruleDigest, want.String(), "manifest does not have this digest")
		}
	}
	if d.MediaType, err = manifestType(d, header, b); err != nil {
		return d, err
	}
	d.Size = int64(len(b))
	r.mu.Lock()
	r.got, r.gotFor = b, d.Digest
	r.mu.Unlock()
	return d, nil
}

// Manifest implements Source.
func (r *registrySource) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if err := checkDescriptor(d, true); err != nil {
		return nil, "", err
	}
	if err := checkManifestSize(d); err != nil {
		return nil, "", err
	}
	if b := r.remembered(d.Digest); b != nil {
		if _, err := readManifest(bytes.NewReader(b), d); err != nil {
			return nil, "", err
		}
		mt, err := manifestType(d, "", b)
		return b, mt, err
	}
	ctx, cancel := r.bound(ctx)
	defer cancel()
	named, err := reference.WithDigest(reference.TrimNamed(r.named), d.Digest)
	if err != nil {
		return nil, "", fmt.Errorf("fetch manifest: %w", err)
	}
	var b []byte
	var mt string
	err = r.eachEndpoint(ctx, named, func(e *endpoint) error {
		raw, header, err := r.getManifest(ctx, e, "manifests/"+d.Digest.String(), d.Size)
		if err != nil {
			return err
		}
		if b, err = readManifest(bytes.NewReader(raw), d); err != nil {
			return err
		}
		mt, err = manifestType(d, header, b)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("fetch manifest from %q: %w", r.s.ref, err)
	}
	return b, mt, nil
}

func (r *registrySource) remembered(d digest.Digest) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gotFor == d {
		return bytes.Clone(r.got)
	}
	return nil
}

// getManifest fetches a manifest, again when the connection breaks on the way.
func (r *registrySource) getManifest(ctx context.Context, e *endpoint, part string, size int64) ([]byte, string, error) {
	for try := 1; ; try++ {
		b, header, err := r.tryManifest(ctx, e, part, size)
		if err == nil || try == maxTries || isFinal(ctx, err) || !errors.Is(err, errBroken) {
			return b, header, err
		}
		if err := r.s.c.backoff(ctx, try, err); err != nil {
			return nil, "", err
		}
	}
}

// errBroken marks an answer that began well and then broke off.
var errBroken = errors.New("answer broke off")

func (r *registrySource) tryManifest(ctx context.Context, e *endpoint, part string, size int64) ([]byte, string, error) {
	req, err := e.request(ctx, http.MethodGet, part)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", acceptManifests)
	resp, err := e.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		if d, ok := strings.CutPrefix(part, "manifests/sha"); ok {
			return nil, "", &NotFoundError{Ref: r.s.ref.String(), What: "manifest sha" + d}
		}
		return nil, "", r.missing()
	default:
		return nil, "", statusError(resp)
	}
	if _, err := headerType(resp); err != nil {
		return nil, "", err
	}
	if n := resp.ContentLength; n > spec.MaxManifestSize {
		return nil, "", spec.Refuse(ruleManifest, part, "manifest of %d bytes is over the limit of %d", n, spec.MaxManifestSize)
	}
	limit := int64(spec.MaxManifestSize)
	if size >= 0 {
		limit = size
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", errBroken, err)
	}
	if size < 0 && int64(len(b)) > limit {
		return nil, "", spec.Refuse(ruleManifest, part, "manifest is over the limit of %d bytes", limit)
	}
	return b, resp.Header.Get("Content-Type"), checkSaidDigest(resp, b)
}

// checkSaidDigest compares a manifest with the digest that the registry gives
// for it; one that it does not give, or in a form unknown here, says nothing.
func checkSaidDigest(resp *http.Response, b []byte) error {
	says, err := spec.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	if err == nil && says.Algorithm().FromBytes(b) != says {
		return spec.Refuse(ruleDigest, says.String(), "manifest does not have this digest, which the registry gives for it")
	}
	return nil
}
