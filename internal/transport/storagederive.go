//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layerType is the media type of a layer without compression, by whose
// manifest it is in.
func layerType(manifestType string) string {
	if manifestType == ocispec.MediaTypeImageManifest {
		return ocispec.MediaTypeImageLayer
	}
	return "application/vnd.docker.image.rootfs.diff.tar"
}

// deriver turns manifests of a store into manifests that its content can
// satisfy. Container storage keeps the files of a layer and how to make the
// same tar of them again, but not how that was compressed. So each layer that
// the manifest has in compressed form is replaced by the tar itself, whose
// digest is the diff ID that the config promises; the same manifest always gives
// the same bytes. A manifest whose layers are tars already, as podman and buildah
// build them, stays as it is, and so does everything else in a document.
type deriver struct {
	ctx   context.Context
	store *imageStore
	keep  func(d digest.Digest, body []byte) // remembers what was derived
}

// document derives what takes the place of a manifest or index.
func (v *deriver) document(body []byte, depth int) (ocispec.Descriptor, []byte, error) {
	d := ocispec.Descriptor{Digest: digest.FromBytes(body), Size: int64(len(body))}
	if d.Size > spec.MaxManifestSize {
		return d, nil, spec.Refuse(ruleManifest, d.Digest.String(), "manifest of %d bytes is over the limit of %d", d.Size, spec.MaxManifestSize)
	}
	var err error
	if d.MediaType, err = manifestType(d, "", body); err != nil {
		return d, nil, err
	}
	derived := body
	if spec.IsIndex(d.MediaType) {
		derived, err = v.index(d.MediaType, body, depth)
	} else {
		derived, err = v.manifest(d.MediaType, body)
	}
	if err != nil {
		return d, nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	d.Digest, d.Size = digest.FromBytes(derived), int64(len(derived))
	v.keep(d.Digest, derived)
	return d, derived, nil
}

// index replaces the entries whose manifests are in the store and have to be
// replaced themselves.
func (v *deriver) index(mediaType string, body []byte, depth int) ([]byte, error) {
	index, err := spec.ParseIndex(mediaType, body)
	if err != nil {
		return nil, err
	}
	if depth > spec.MaxIndexDepth {
		return nil, spec.Refuse(spec.RuleIndexDepth, "", "indexes are nested more than %d deep", spec.MaxIndexDepth)
	}
	changed := false
	for i, entry := range index.Manifests {
		child, err := v.store.manifest(entry.Digest)
		if err != nil {
			return nil, err
		}
		if child == nil || !spec.IsIndex(entry.MediaType) && !spec.IsManifest(entry.MediaType) {
			continue // whoever chooses it will hear that it is not there
		}
		d, _, err := v.document(child, depth+1)
		if err != nil {
			return nil, err
		}
		if d.Digest != entry.Digest {
			index.Manifests[i].Digest, index.Manifests[i].Size, changed = d.Digest, d.Size, true
		}
	}
	if !changed {
		return body, nil
	}
	return replaceKey(body, "manifests", index.Manifests)
}

// manifest replaces the layers that the store only has without compression.
func (v *deriver) manifest(mediaType string, body []byte) ([]byte, error) {
	m, err := spec.ParseManifest(mediaType, body)
	if err != nil {
		return nil, err
	}
	if !spec.IsConfig(m.Config.MediaType) {
		return body, nil // an artifact, whose blobs are what they are
	}
	diffIDs, err := v.diffIDs(m)
	if err != nil {
		return nil, err
	}
	changed := false
	for i := range m.Layers {
		if m.Layers[i].Digest == diffIDs[i] {
			continue
		}
		changed = true
		size, err := v.size(diffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		m.Layers[i] = ocispec.Descriptor{
			MediaType: layerType(mediaType), Digest: diffIDs[i], Size: size,
			Annotations: ofAnyForm(m.Layers[i].Annotations),
		}
	}
	if !changed {
		return body, nil
	}
	return replaceKey(body, "layers", m.Layers)
}

// diffIDs reads the digests of the tars, one for each layer, from the config.
func (v *deriver) diffIDs(m *ocispec.Manifest) ([]digest.Digest, error) {
	raw, err := v.store.config(m.Config.Digest)
	if err != nil {
		return nil, err
	}
	if digest.FromBytes(raw) != m.Config.Digest {
		return nil, spec.Refuse(ruleDigest, m.Config.Digest.String(), "content does not have this digest")
	}
	config, err := spec.ParseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil, spec.Refuse(spec.RuleDiffID, "", "%d layers, but the config has %d diff IDs", len(m.Layers), len(config.RootFS.DiffIDs))
	}
	return config.RootFS.DiffIDs, nil
}

// size is the length of a tar. Where the store did not count it, it is read.
func (v *deriver) size(diffID digest.Digest) (int64, error) {
	layer, err := v.store.layer(diffID)
	if err != nil {
		return 0, err
	}
	if layer.UncompressedSize > 0 && layer.TOCDigest == "" {
		return layer.UncompressedSize, nil
	}
	return v.store.copyLayer(v.ctx, io.Discard, layer)
}

// ofAnyForm leaves out the annotations that tell how a layer is compressed.
func ofAnyForm(annotations map[string]string) map[string]string {
	kept := map[string]string{}
	for key, value := range annotations {
		switch {
		case strings.HasPrefix(key, "io.github.containers.zstd-chunked."):
		case key == spec.AnnotationFileTablePosition, key == spec.AnnotationFileTableDigest:
		default:
			kept[key] = value
		}
	}
	return kept
}

// replaceKey sets one key of a JSON object and keeps the values of all others.
// The keys come out sorted.
func replaceKey(object []byte, key string, value any) ([]byte, error) {
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(object, &doc); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	doc[key] = raw
	return json.Marshal(doc)
}
