package spec

import (
	"encoding/json"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ParseManifest decodes an image manifest, OCI or docker schema 2; both have
// the same shape, so the result is the OCI type with the media types as they
// were written. mediaType is what the descriptor and the response said; the
// body must say the same (an OCI body may say nothing). Every descriptor in it
// has passed CheckDescriptor.
func ParseManifest(mediaType string, b []byte) (*ocispec.Manifest, error) {
	if !IsManifest(mediaType) {
		return nil, Refuse(RuleMediaType, "", "media type %q is not that of an image manifest", mediaType)
	}
	var m ocispec.Manifest
	if err := parseDocument("manifest", b, &m, "manifests", "fsLayers"); err != nil {
		return nil, err
	}
	if err := checkBody(mediaType, m.MediaType, m.SchemaVersion); err != nil {
		return nil, err
	}
	m.MediaType = mediaType
	if len(m.Layers) > MaxLayers {
		return nil, Refuse(RuleLayerCount, "", "%d layers are more than %d", len(m.Layers), MaxLayers)
	}
	all := append([]ocispec.Descriptor{m.Config}, m.Layers...)
	return &m, checkDescriptors(all, m.Subject)
}

// ParseIndex decodes an image index, OCI or a docker manifest list, under the
// same conditions as ParseManifest.
func ParseIndex(mediaType string, b []byte) (*ocispec.Index, error) {
	if !IsIndex(mediaType) {
		return nil, Refuse(RuleMediaType, "", "media type %q is not that of an image index", mediaType)
	}
	var x ocispec.Index
	if err := parseDocument("index", b, &x, "layers", "fsLayers", "config"); err != nil {
		return nil, err
	}
	if err := checkBody(mediaType, x.MediaType, x.SchemaVersion); err != nil {
		return nil, err
	}
	x.MediaType = mediaType
	return &x, checkDescriptors(x.Manifests, x.Subject)
}

// ParseConfig decodes an image config. Its diff IDs have passed ParseDigest.
func ParseConfig(b []byte) (*ocispec.Image, error) {
	var c ocispec.Image
	if err := parseDocument("config", b, &c, "manifests", "layers"); err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) > MaxLayers {
		return nil, Refuse(RuleLayerCount, "", "%d diff IDs are more than %d", len(c.RootFS.DiffIDs), MaxLayers)
	}
	for _, d := range c.RootFS.DiffIDs {
		if _, err := ParseDigest(string(d)); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// parseDocument decodes a document of bounded size, and refuses one with a key
// that belongs to a document of another kind: whoever reads only the body would
// take it for that.
func parseDocument(kind string, b []byte, v any, foreign ...string) error {
	if len(b) > MaxManifestSize {
		return Refuse(RuleDocumentSize, "", "%s of %d bytes is larger than %d", kind, len(b), MaxManifestSize)
	}
	var keys map[string]json.RawMessage
	if err := UnmarshalStrict(b, &keys); err != nil {
		return err
	}
	if keys == nil {
		return Refuse(RuleJSON, "", "%s is not a JSON object", kind)
	}
	for _, key := range foreign {
		if _, ok := keys[key]; ok {
			return Refuse(RuleMediaType, "", "%s has the key %q of another kind of document", kind, key)
		}
	}
	return UnmarshalStrict(b, v)
}

func checkBody(said, body string, schema int) error {
	if schema != 2 {
		return Refuse(RuleSchema, "", "schemaVersion is %d, not 2", schema)
	}
	if body != said && (body != "" || isDocker(said)) {
		return Refuse(RuleMediaType, "", "document is announced as %q and says it is %q", said, body)
	}
	return nil
}

func checkDescriptors(list []ocispec.Descriptor, subject *ocispec.Descriptor) error {
	if subject != nil {
		list = append(list[:len(list):len(list)], *subject)
	}
	for _, d := range list {
		if err := CheckDescriptor(d); err != nil {
			return err
		}
	}
	return nil
}
