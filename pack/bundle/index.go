package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// indexFile makes index.json: the entries by name, what has none first.
func indexFile(entries []ocispec.Descriptor) ([]byte, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b ocispec.Descriptor) int {
		if c := strings.Compare(entryName(a), entryName(b)); c != 0 {
			return c
		}
		return strings.Compare(a.Digest.String(), b.Digest.String())
	})
	index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries}
	index.SchemaVersion = 2
	if entries == nil {
		index.Manifests = []ocispec.Descriptor{}
	}
	raw, err := encode(index)
	if err != nil {
		return nil, err
	}
	if raw = append(raw, '\n'); len(raw) > spec.MaxManifestSize {
		return nil, &problem{fmt.Sprintf("index.json would have %d bytes, and readers take %d: these are too many images for one bundle", len(raw), spec.MaxManifestSize), "make several bundles", 1}
	}
	return raw, nil
}

// encode writes a document on one line, without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
