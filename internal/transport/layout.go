package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/spec"
)

// local is what all sources on this machine's disks have in common.
type local struct {
	ref   Reference
	files ocilayout.Files
	// name gives the file that holds a blob or manifest.
	name func(d digest.Digest) string
}

// Usage implements Source: a local source sends no requests.
func (*local) Usage() Usage { return Usage{} }

// Scheme implements Source.
func (*local) Scheme() string { return "" }

// Close implements Source.
func (l *local) Close() error { return l.files.Close() }

// Blob implements Source.
func (l *local) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := checkDescriptor(d, false); err != nil {
		return nil, err
	}
	r, size, err := l.openDigest(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	if size != d.Size {
		// Said before the first byte, so that nobody unpacks half of it.
		return nil, errors.Join(spec.Refuse(ruleSize, d.Digest.String(), "content has %d bytes, its descriptor says %d", size, d.Size), r.Close())
	}
	return newVerifyReader(&ctxReader{ctx, r}, d), nil
}

// Manifest implements Source.
func (l *local) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if err := checkDescriptor(d, true); err != nil {
		return nil, "", err
	}
	r, _, err := l.openDigest(ctx, d.Digest)
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	b, err := readManifest(r, d)
	if err != nil {
		return nil, "", fmt.Errorf("read manifest from %q: %w", l.ref, err)
	}
	mt, err := manifestType(d, "", b)
	return b, mt, err
}

// openDigest opens the file of a blob or manifest.
func (l *local) openDigest(ctx context.Context, d digest.Digest) (io.ReadCloser, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	r, size, err := l.files.Open(l.name(d))
	switch {
	case isNotExist(err):
		return nil, 0, &NotFoundError{Ref: l.ref.String(), What: "blob " + d.String()}
	case err != nil:
		return nil, 0, fmt.Errorf("open blob %s of %q: %w", d, l.ref, err)
	}
	return r, size, nil
}

// byDigest describes a manifest that is known by digest only.
func (l *local) byDigest(ctx context.Context, d digest.Digest) (ocispec.Descriptor, error) {
	desc := ocispec.Descriptor{Digest: d, Size: -1}
	b, mt, err := l.Manifest(ctx, desc)
	desc.MediaType, desc.Size = mt, int64(len(b))
	return desc, err
}

// layoutSource reads an OCI layout: oci: or oci-archive:.
type layoutSource struct{ local }

// Resolve implements Source. index.json is read anew every time.
func (s *layoutSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return ocispec.Descriptor{}, err
	}
	idx, _, err := ocilayout.ReadIndex(s.files)
	if isNotExist(err) {
		return ocispec.Descriptor{}, &NotFoundError{Ref: s.ref.String(), What: "layout (oci-layout and index.json)"}
	}
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read %q: %w", s.ref, err)
	}
	d, err := selectEntry(idx, s.ref)
	if errors.Is(err, errNoEntry) {
		if err := checkDescriptor(ocispec.Descriptor{Digest: s.ref.Digest}, false); err != nil {
			return ocispec.Descriptor{}, err
		}
		return s.byDigest(ctx, s.ref.Digest)
	}
	return d, err
}

// openLayout opens an oci: or oci-archive: reference for reading.
func openLayout(ref Reference) (*layoutSource, error) {
	var f ocilayout.Files
	var err error
	if ref.Transport == OCIArchive {
		f, err = ocilayout.OpenArchive(ref.path())
	} else {
		f, err = ocilayout.OpenDir(ref.path())
	}
	switch {
	case isNotExist(err):
		return nil, &NotFoundError{Ref: ref.String(), What: "layout"}
	case err != nil:
		return nil, fmt.Errorf("open %q: %w", ref, err)
	}
	return &layoutSource{local{ref: ref, files: f, name: ocilayout.BlobName}}, nil
}

// ctxReader ends a local stream when its context does.
type ctxReader struct {
	ctx context.Context
	io.ReadCloser
}

// Read implements io.Reader.
func (r *ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
