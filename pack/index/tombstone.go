package index

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tombstone makes the manifest that stands for removed entries: an artifact
// without content.
func tombstone(index string, entry ocispec.Descriptor, keys []string, removed []ocispec.Descriptor) ([]byte, error) {
	entries, err := encode(removed)
	if err != nil {
		return nil, err
	}
	notes := childAnnotations(index, entry, keys)
	notes[spec.AnnotationIndexRemoved] = string(entries)
	empty := ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromString(emptyJSON), Size: int64(len(emptyJSON))}
	return encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: spec.TombstoneType, Config: empty, Layers: []ocispec.Descriptor{empty}, Annotations: notes,
	})
}

// emptyJSON is the content of an artifact that has none.
const emptyJSON = "{}"

// tombSource is a repository in memory that holds one tombstone, because
// repositories only take content that they can copy from another one.
type tombSource struct {
	desc ocispec.Descriptor
	raw  []byte
}

func newTombSource(raw []byte) *tombSource {
	return &tombSource{
		desc: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(raw), Size: int64(len(raw))},
		raw:  raw,
	}
}

// Resolve implements transport.Source.
func (t *tombSource) Resolve(context.Context) (ocispec.Descriptor, error) { return t.desc, nil }

// Manifest implements transport.Source.
func (t *tombSource) Manifest(_ context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if d.Digest != t.desc.Digest {
		return nil, "", fmt.Errorf("a tombstone has no manifest %s", d.Digest)
	}
	return t.raw, t.desc.MediaType, nil
}

// Blob implements transport.Source.
func (t *tombSource) Blob(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if d.Digest != digest.FromString(emptyJSON) {
		return nil, fmt.Errorf("a tombstone has no blob %s", d.Digest)
	}
	return io.NopCloser(bytes.NewReader([]byte(emptyJSON))), nil
}

// Usage implements transport.Source.
func (*tombSource) Usage() transport.Usage { return transport.Usage{} }

// Scheme implements transport.Source.
func (*tombSource) Scheme() string { return "" }

// Close implements transport.Source.
func (*tombSource) Close() error { return nil }
