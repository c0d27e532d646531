package spec

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

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
	var doc struct {
		ocispec.Manifest
		Manifests json.RawMessage `json:"manifests"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	if err := parseDocument("manifest", b, &doc); err != nil {
		return nil, err
	}
	if err := refuseKeys("manifest", map[string]json.RawMessage{"manifests": doc.Manifests, "fsLayers": doc.FSLayers}); err != nil {
		return nil, err
	}
	m := doc.Manifest
	if err := checkBody(mediaType, m.MediaType, m.SchemaVersion); err != nil {
		return nil, err
	}
	m.MediaType = mediaType
	if len(m.Layers) > MaxLayers {
		return nil, Refuse(RuleLayerCount, "", "%d layers are more than %d", len(m.Layers), MaxLayers)
	}
	all := append([]ocispec.Descriptor{m.Config}, m.Layers...)
	if err := checkDescriptors(all, m.Subject); err != nil {
		return nil, err
	}
	return &m, nil
}

// ParseIndex decodes an image index, OCI or a docker manifest list, under the
// same conditions as ParseManifest.
func ParseIndex(mediaType string, b []byte) (*ocispec.Index, error) {
	if !IsIndex(mediaType) {
		return nil, Refuse(RuleMediaType, "", "media type %q is not that of an image index", mediaType)
	}
	var doc struct {
		ocispec.Index
		Layers   json.RawMessage `json:"layers"`
		FSLayers json.RawMessage `json:"fsLayers"`
		Config   json.RawMessage `json:"config"`
	}
	if err := parseDocument("index", b, &doc); err != nil {
		return nil, err
	}
	if err := refuseKeys("index", map[string]json.RawMessage{"layers": doc.Layers, "fsLayers": doc.FSLayers, "config": doc.Config}); err != nil {
		return nil, err
	}
	x := doc.Index
	if err := checkBody(mediaType, x.MediaType, x.SchemaVersion); err != nil {
		return nil, err
	}
	x.MediaType = mediaType
	if err := checkDescriptors(x.Manifests, x.Subject); err != nil {
		return nil, err
	}
	return &x, nil
}

// ParseConfig decodes an image config. Its diff IDs have passed ParseDigest.
func ParseConfig(b []byte) (*ocispec.Image, error) {
	var doc struct {
		ocispec.Image
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
	}
	if err := parseDocument("config", b, &doc); err != nil {
		return nil, err
	}
	if err := refuseKeys("config", map[string]json.RawMessage{"manifests": doc.Manifests, "layers": doc.Layers}); err != nil {
		return nil, err
	}
	c := doc.Image
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

// parseDocument decodes a JSON object of bounded size.
func parseDocument(kind string, b []byte, v any) error {
	if len(b) > MaxManifestSize {
		return Refuse(RuleDocumentSize, "", "%s of %d bytes is larger than %d", kind, len(b), MaxManifestSize)
	}
	if !bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) {
		return Refuse(RuleJSON, "", "%s is not a JSON object", kind)
	}
	return UnmarshalStrict(b, v)
}

// refuseKeys refuses a document that has one of these keys of another kind of
// document: whoever reads only the body could take it for that.
func refuseKeys(kind string, keys map[string]json.RawMessage) error {
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if keys[key] != nil {
			return Refuse(RuleMediaType, "", "%s has the key %q of another kind of document", kind, key)
		}
	}
	return nil
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
