package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// ErrChanged says that a tag no longer names what [PutOptions] expected:
// somebody else wrote it. Read it again and decide anew.
var ErrChanged = errors.New("the tag was changed by somebody else in the meantime")

// Repository reads and writes one repository of a registry, or one OCI layout,
// manifest by manifest. Nothing is read through mirrors, since what is read is
// going to be changed. Its methods may be called from many goroutines.
//
// A layout changes only in Put: what Copy brings waits in a hidden directory
// on the same file system, and goes away with Close if no Put follows.
type Repository struct {
	c     *Client
	ref   Reference
	store store
	lists turns // of those who list what refers to something
}

// store is what registries and layouts do differently.
type store interface {
	tags(ctx context.Context) ([]string, error)
	// get looks a manifest up by tag or, when d is not empty, by digest.
	get(ctx context.Context, tag string, d digest.Digest) (ocispec.Descriptor, []byte, error)
	// head is as get, but asks for no content.
	head(ctx context.Context, tag string, d digest.Digest) (ocispec.Descriptor, error)
	// put stores a manifest, under a tag unless that is empty.
	put(ctx context.Context, tag string, d ocispec.Descriptor, body []byte, o PutOptions) error
	blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error)
	// copies gives what brings blobs and manifests from src, by digest only.
	copies(src Source, o CopyOptions) copier
	lock(ctx context.Context) (func(), error)
	close() error
}

// copier stores parts of an image that it takes from one source, unless they
// are there. Its methods may be called from many goroutines.
type copier interface {
	blob(ctx context.Context, d ocispec.Descriptor) error
	manifest(ctx context.Context, d ocispec.Descriptor, body []byte) error
}

// PutOptions are the conditions of a [Repository.Put].
type PutOptions struct {
	// IfMatch is the digest of what the tag names now; when it names
	// something else, the Put fails with ErrChanged. A layout keeps that
	// promise. A registry is asked to, but most of them do not listen.
	// Empty: whatever the tag names is replaced.
	IfMatch digest.Digest
}

// Repository opens the repository of a registry (docker://) or the layout
// (oci:) that ref names; tag and digest of ref do not matter. It need not
// exist yet, and nothing is asked or created. Other transports hold one image
// only, so they are usage errors.
func (c *Client) Repository(ctx context.Context, ref Reference) (*Repository, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := &Repository{c: c, ref: Reference{Transport: ref.Transport, Name: ref.Name}}
	switch ref.Transport {
	case Docker:
		r.store = newRegistryStore(c, r.ref)
	case OCI:
		r.store = newLayoutStore(c, r.ref)
	default:
		return nil, badRef("copy it to a registry or to a layout (oci:DIR) first", "%q is no repository of several images that can be changed", ref)
	}
	return r, nil
}

// Tags lists the tags of the repository or the names in the layout, sorted.
// One that does not exist yet has none, which is no error.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	tags, err := r.store.tags(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the tags of %q: %w", r.ref, err)
	}
	return tags, nil
}

// Get reads the manifest or index that a tag or digest names. Its digest, size
// and media type were checked, also against what the registry says about them.
// The error is a *NotFoundError only when that is certain: a registry that
// answers 404 is asked again, and for its list of tags. Answers that may pass
// (5xx, 429) are retried and then an error of another kind.
func (r *Repository) Get(ctx context.Context, name string) (ocispec.Descriptor, []byte, error) {
	tag, d, err := r.name(name)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc, body, err := r.store.get(ctx, tag, d)
	if err != nil {
		return ocispec.Descriptor{}, nil, fmt.Errorf("read %q of %q: %w", name, r.ref, err)
	}
	return desc, body, nil
}

// Head looks up what a tag or digest names now, with one request and without its
// content; false if it is not there. That is not certain, as it is of Get, and
// the size may be -1: it is for saving work.
func (r *Repository) Head(ctx context.Context, name string) (ocispec.Descriptor, bool, error) {
	tag, d, err := r.name(name)
	if err != nil {
		return ocispec.Descriptor{}, false, err
	}
	desc, err := r.store.head(ctx, tag, d)
	switch {
	case isAbsent(err):
		return desc, false, nil
	case err != nil:
		return desc, false, fmt.Errorf("look for %q in %q: %w", name, r.ref, err)
	}
	return desc, true, nil
}

// Put stores a manifest or index as it is, under a tag or, when tag is empty,
// by its digest alone. What it refers to must be there; a registry checks
// that. The descriptor has the sha256 digest of body. A layout that does not
// exist yet is created.
func (r *Repository) Put(ctx context.Context, tag, mediaType string, body []byte, o PutOptions) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	if err := checkManifestSize(d); err != nil {
		return d, err
	}
	if _, err := manifestType(d, "", body); err != nil {
		return d, err
	}
	name := d.Digest.String()
	if tag != "" {
		if t, _, err := r.name(tag); err != nil || t == "" {
			return d, badRef("", "%q is not a tag", tag)
		}
		name = tag
	}
	if err := r.store.put(ctx, tag, d, body, o); err != nil {
		return d, fmt.Errorf("write %q of %q: %w", name, r.ref, err)
	}
	return d, nil
}

// Blob opens a blob of the repository under the conditions of [Source].
func (r *Repository) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDescriptor(d, false); err != nil {
		return nil, err
	}
	return r.store.blob(ctx, d)
}

// Lock keeps other processes that use it from changing the layout, so that a
// tag can be read and written again. Puts of this Repository are not kept out.
// It waits until it has the lock, or ctx ends, also when this Repository has it
// already. Publishing a Stage to the same layout in between would wait for ever. Registries know no locks: there it
// does nothing.
func (r *Repository) Lock(ctx context.Context) (unlock func(), err error) {
	unlock, err = r.store.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", r.ref, err)
	}
	return unlock, nil
}

// Close removes what is left over. No other method may be running.
func (r *Repository) Close() error { return r.store.close() }

// registryTag is the grammar of tags in the distribution specification.
var registryTag = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
})

// name tells tags from digests.
func (r *Repository) name(s string) (tag string, d digest.Digest, err error) {
	if digest.DigestRegexpAnchored.MatchString(s) {
		d, err = spec.ParseDigest(s)
		return "", d, err
	}
	grammar := registryTag()
	if r.ref.Transport == OCI {
		grammar = layoutName
	}
	if !grammar.MatchString(s) {
		return "", "", badRef("", "%q is neither a tag nor a digest", s)
	}
	return s, "", nil
}
