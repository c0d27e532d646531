package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifest makes the manifest of a job.
func (j *job) manifest(config ocispec.Descriptor, layers []ocispec.Descriptor) *ocispec.Manifest {
	return &ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: j.artifactType,
		Config:       config,
		Layers:       layers,
		Annotations:  j.annotations,
	}
}

// putJSON stores a config.
func (j *job) putJSON(ctx context.Context, config *ocispec.Image) (ocispec.Descriptor, error) {
	raw, err := encode(config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if len(raw) > spec.MaxManifestSize {
		return ocispec.Descriptor{}, refuse(spec.RuleDocumentSize, "", "use fewer or shorter labels",
			"the config has %d bytes, %d are permitted", len(raw), spec.MaxManifestSize)
	}
	return j.putConfig(ctx, ocispec.MediaTypeImageConfig, raw)
}

// putConfig stores the config blob of a manifest.
func (j *job) putConfig(ctx context.Context, mediaType string, raw []byte) (ocispec.Descriptor, error) {
	stored, err := j.stage.PutBlob(ctx, func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("storing the config: %w", err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: stored.Digest, Size: stored.Size}, nil
}

// encode writes JSON as it is published: in one line, keys of maps sorted,
// nothing escaped for web pages.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
