package transport

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// confirmTries is how many 404 in a row are asked about. There are registries
// that answer 404 for a tag while it is being written.
const confirmTries = 2

// registryStore is a repository of a registry.
type registryStore struct {
	c   *Client
	ref Reference
	// Two sessions, because who may read must not need to be allowed to write.
	read, write *session

	turns turns // of those who bring content
}

func newRegistryStore(c *Client, ref Reference) *registryStore {
	return &registryStore{c: c, ref: ref, read: &session{c: c, ref: ref}, write: &session{c: c, ref: ref, push: true}}
}

// reading calls f with the registry. Where reading is denied, it tries with
// the right to write: registries deny to read what does not exist yet, but
// say so to those who may create it.
func (r *registryStore) reading(f func(e *endpoint) error) error {
	e, err := r.read.primary()
	if err != nil {
		return err
	}
	err = f(e)
	var denied *AuthError
	if !errors.As(err, &denied) {
		return err
	}
	if e, werr := r.write.primary(); werr == nil {
		if werr = f(e); !errors.As(werr, &denied) {
			return werr
		}
	}
	return err
}

// tags lists all tags. A 404 is asked about, as in get.
func (r *registryStore) tags(ctx context.Context) ([]string, error) {
	var all []string
	err := r.reading(func(e *endpoint) error {
		all = nil
		return r.eachTag(ctx, e, func(page []string) error {
			all = append(all, page...)
			return nil
		})
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// eachTag goes through the pages of the list. A repository that certainly does
// not exist has none.
func (r *registryStore) eachTag(ctx context.Context, e *endpoint, f func(page []string) error) error {
	for try := 1; ; try++ {
		err := e.eachTag(ctx, f)
		var absent *NotFoundError
		if !errors.As(err, &absent) {
			return err
		}
		if try == confirmTries {
			return nil
		}
		if err := r.c.backoff(ctx, try, err); err != nil {
			return err
		}
	}
}

// errFound ends a listing early.
var errFound = errors.New("found")

func (r *registryStore) hasTag(ctx context.Context, e *endpoint, tag string) (bool, error) {
	err := r.eachTag(ctx, e, func(page []string) error {
		if slices.Contains(page, tag) {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

func (r *registryStore) get(ctx context.Context, tag string, d digest.Digest) (desc ocispec.Descriptor, body []byte, err error) {
	err = r.reading(func(e *endpoint) (err error) {
		desc, body, err = r.getSurely(ctx, e, tag, d)
		return err
	})
	return desc, body, err
}

// getSurely does not believe a 404 before the list of tags confirms it. A tag
// that is listed and yet not given is an error of another kind, because who
// takes it for missing would write a new one over it.
func (r *registryStore) getSurely(ctx context.Context, e *endpoint, tag string, d digest.Digest) (ocispec.Descriptor, []byte, error) {
	for try := 1; ; try++ {
		desc, body, err := r.getOnce(ctx, e, tag, d)
		var absent *NotFoundError
		if !errors.As(err, &absent) {
			return desc, body, err
		}
		if try >= confirmTries {
			listed := false
			if tag != "" {
				var lerr error
				if listed, lerr = r.hasTag(ctx, e, tag); lerr != nil {
					return desc, nil, fmt.Errorf("%v, but the list of tags does not confirm it: %w", err, lerr)
				}
			}
			if !listed {
				return desc, nil, err
			}
			if try == maxTries {
				return desc, nil, fmt.Errorf("registry %q lists the tag and yet answers that it is not found", e.host)
			}
		}
		if err := r.c.backoff(ctx, try, err); err != nil {
			return desc, nil, err
		}
	}
}

// source is borrowed from reading, with the name in its errors; part names it in
// URLs.
func (r *registryStore) source(tag string, d digest.Digest) (src *registrySource, part string) {
	src = &registrySource{s: &session{c: r.c, ref: Reference{Transport: Docker, Name: r.ref.Name, Tag: tag, Digest: d}}}
	return src, "manifests/" + cmp.Or(d.String(), tag)
}

func (r *registryStore) head(ctx context.Context, tag string, d digest.Digest) (desc ocispec.Descriptor, err error) {
	src, part := r.source(tag, d)
	err = r.reading(func(e *endpoint) (err error) {
		desc, err = src.head(ctx, e, part)
		return err
	})
	return desc, err
}

// getOnce reads a manifest from the registry itself.
func (r *registryStore) getOnce(ctx context.Context, e *endpoint, tag string, d digest.Digest) (ocispec.Descriptor, []byte, error) {
	src, part := r.source(tag, d)
	body, header, err := src.getManifest(ctx, e, part, -1)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc := ocispec.Descriptor{Digest: d, Size: int64(len(body))}
	if d == "" {
		desc.Digest = digest.FromBytes(body)
	}
	if body, err = readManifest(bytes.NewReader(body), desc); err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc.MediaType, err = manifestType(desc, header, body)
	return desc, body, err
}

func (r *registryStore) put(ctx context.Context, tag string, d ocispec.Descriptor, body []byte, o PutOptions) error {
	e, err := r.write.primary()
	if err != nil {
		return err
	}
	if tag == "" {
		tag = d.Digest.String()
	}
	repo := e.repository()
	// The library would list what has a subject in an index that it writes anew,
	// and delete the old one. PutReferrer does that without losing a byte.
	_ = repo.SetReferrersCapability(true)
	repo.Client = &conditionalClient{e: e, part: "/manifests/" + tag, match: o.IfMatch}
	err = r.c.pushManifest(ctx, repo, d, body, tag, func(context.Context) error { return nil })
	var resp *errcode.ErrorResponse
	if errors.As(err, &resp) && resp.StatusCode == http.StatusPreconditionFailed {
		return ErrChanged
	}
	return err
}

// conditionalClient sends If-Match with the PUT of one manifest.
type conditionalClient struct {
	e     *endpoint
	part  string
	match digest.Digest
}

// Do implements remote.Client.
func (c *conditionalClient) Do(req *http.Request) (*http.Response, error) {
	if c.match != "" && req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, c.part) {
		req.Header.Set("If-Match", `"`+c.match.String()+`"`) // an entity tag, as registries make them
	}
	return c.e.Do(req)
}

func (r *registryStore) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	src, err := r.c.openRegistry(Reference{Transport: Docker, Name: r.ref.Name, Digest: d.Digest})
	if err != nil {
		return nil, err
	}
	return src.Blob(ctx, d)
}

func (r *registryStore) copies(src Source, o CopyOptions) copier {
	c := &registryCopier{r: r, open: src.Blob, mount: o.MountFrom}
	if other, ok := src.(*registrySource); ok && other.s.ref.Host() == r.ref.Host() && other.s.ref.Name != r.ref.Name {
		_, c.from, _ = strings.Cut(other.s.ref.Name, "/")
	}
	return c
}

// registryCopier brings parts of an image into a registry.
type registryCopier struct {
	r     *registryStore
	open  func(context.Context, ocispec.Descriptor) (io.ReadCloser, error)
	from  string                     // see uploader
	mount func(digest.Digest) string // another repository instead; may be nil
}

func (c *registryCopier) blob(ctx context.Context, d ocispec.Descriptor) error {
	e, err := c.r.write.primary()
	if err != nil {
		return err
	}
	done, err := c.r.turns.take(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer done()
	u := &uploader{e: e, open: c.open, from: c.from}
	if c.mount != nil {
		u.from = cmp.Or(c.mount(d.Digest), c.from)
	}
	return u.blob(ctx, d)
}

func (c *registryCopier) manifest(ctx context.Context, d ocispec.Descriptor, body []byte) error {
	e, err := c.r.write.primary()
	if err != nil {
		return err
	}
	done, err := c.r.turns.take(ctx, d.Digest)
	if err != nil {
		return err
	}
	defer done()
	there, err := e.exists(ctx, "manifests/"+d.Digest.String(), d.Size)
	if err != nil || there {
		return err
	}
	return c.r.put(ctx, "", d, body, PutOptions{})
}

func (r *registryStore) lock(context.Context) (func(), error) { return func() {}, nil }

func (r *registryStore) close() error { return nil }
