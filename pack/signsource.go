package pack

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// attached is a repository in memory that holds one attachment, because
// repositories take only content that they can copy from another one. The layers
// of signatures that were there before are not in it; they are in the repository
// already, and a copy does not read what is there.
type attached struct {
	desc  ocispec.Descriptor
	raw   []byte
	blobs map[digest.Digest][]byte
}

func newAttached(a *trust.Attachment) *attached {
	s := &attached{desc: a.Descriptor(), raw: a.Manifest, blobs: map[digest.Digest][]byte{}}
	for _, b := range a.Blobs {
		s.blobs[digest.FromBytes(b)] = b
	}
	return s
}

// Resolve implements transport.Source.
func (s *attached) Resolve(context.Context) (ocispec.Descriptor, error) { return s.desc, nil }

// Manifest implements transport.Source.
func (s *attached) Manifest(_ context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if d.Digest != s.desc.Digest {
		return nil, "", fmt.Errorf("an attachment has no manifest %s", d.Digest)
	}
	return s.raw, s.desc.MediaType, nil
}

// Blob implements transport.Source.
func (s *attached) Blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	b, ok := s.blobs[d.Digest]
	if !ok {
		return nil, fmt.Errorf("the blob %s of an earlier signature is not in the repository", d.Digest)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Usage implements transport.Source.
func (*attached) Usage() transport.Usage { return transport.Usage{} }

// Scheme implements transport.Source.
func (*attached) Scheme() string { return "" }

// Close implements transport.Source.
func (*attached) Close() error { return nil }

// maxSigned bounds what one command signs or verifies.
const maxSigned = 1 << 12

// manifestsOf lists what src names and, below indexes, all manifests and indexes,
// each once, those above after what they name.
func manifestsOf(ctx context.Context, src transport.Source, recursive bool) ([]ocispec.Descriptor, error) {
	top, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	w := &manifestWalk{src: src, recursive: recursive, seen: map[digest.Digest]bool{}}
	if err := w.visit(ctx, top, 0); err != nil {
		return nil, err
	}
	return w.found, nil
}

type manifestWalk struct {
	src       transport.Source
	recursive bool
	seen      map[digest.Digest]bool
	found     []ocispec.Descriptor
}

func (w *manifestWalk) visit(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if w.seen[d.Digest] {
		return nil
	}
	w.seen[d.Digest] = true
	if len(w.seen) > maxSigned || depth > spec.MaxIndexDepth {
		return spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "the index names too many manifests, or too deep")
	}
	body, mediaType, err := w.src.Manifest(ctx, d)
	if err != nil {
		return err
	}
	if spec.IsIndex(mediaType) && w.recursive {
		index, err := spec.ParseIndex(mediaType, body)
		if err != nil {
			return err
		}
		for _, child := range index.Manifests {
			if err := w.visit(ctx, child, depth+1); err != nil {
				return err
			}
		}
	}
	w.found = append(w.found, ocispec.Descriptor{MediaType: mediaType, Digest: d.Digest, Size: int64(len(body))})
	return nil
}
