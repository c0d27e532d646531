package pack

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Result tells what was published. It is the JSON that "nbpack build" prints.
type Result struct {
	Reference string            `json:"reference"` // where the image is
	Digest    digest.Digest     `json:"digest"`    // of the image manifest
	MediaType string            `json:"mediaType"` // of the image manifest
	Size      int64             `json:"size"`      // bytes of the image manifest
	Platform  string            `json:"platform"`
	Created   *time.Time        `json:"created,omitempty"`
	Labels    map[string]string `json:"labels"`
	Config    ResultBlob        `json:"config"`
	Layers    []ResultBlob      `json:"layers"`
	Files     int               `json:"files"`       // regular files of the payload, without SHA256SUM
	FilesSize int64             `json:"payloadSize"` // their bytes
}

// ResultBlob is one blob of the image.
type ResultBlob struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	DiffID    digest.Digest `json:"diffID,omitempty"` // of a layer: digest of its tar
}

// config makes the image config. Its history has one entry for each layer with
// the time of the layer's entries, because tools that list the history count on
// both: umoci stat crashes at an entry without a time.
func (b *builder) config() ocispec.Image {
	p := b.plan
	platform := p.options.Platform.OCI()
	img := ocispec.Image{
		Created:  p.Created,
		Platform: *platform,
		Config:   ocispec.ImageConfig{Labels: p.Labels},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: b.diffIDs},
	}
	titles := []string{spec.SumsName}
	for _, l := range p.Layers {
		titles = append(titles, l.Title)
	}
	at := b.modTime().UTC()
	for _, title := range titles {
		img.History = append(img.History, ocispec.History{Created: &at, CreatedBy: "nbpack build", Comment: title})
	}
	return img
}

// publish makes config and manifest, checks the image, and puts it at dst.
func (b *builder) publish(dst transport.Reference) (*Result, error) {
	config := b.config()
	configDesc, err := b.putJSON(config)
	if err != nil {
		return nil, err
	}
	manifest := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      configDesc,
		Layers:      b.layers,
		Annotations: b.plan.Annotations,
	}
	raw, err := encode(manifest)
	if err != nil {
		return nil, err
	}
	if err := b.check(&manifest, &config, raw); err != nil {
		return nil, err
	}
	desc, err := b.stage.Publish(b.ctx, manifest.MediaType, raw)
	if err != nil {
		return nil, err // it names the destination
	}
	return b.result(dst, desc, configDesc), nil
}

// check holds the image against every rule of the format, also those that
// consumers do not insist on.
func (b *builder) check(m *ocispec.Manifest, config *ocispec.Image, raw []byte) error {
	if len(raw) > spec.MaxManifestSize {
		return refuse(spec.RuleDocumentSize, "", "pack fewer files, or a single layer",
			"the manifest has %d bytes, %d are permitted", len(raw), spec.MaxManifestSize)
	}
	violations := spec.Check(&spec.Image{
		MediaType: m.MediaType, Manifest: m, Config: config,
		Sums: b.sortedSums(), HasSums: true, Entries: b.entries, DiffIDs: b.diffIDs,
	})
	if len(violations) == 0 {
		return nil
	}
	v := violations[0]
	return refuse(v.Rule, v.Path, v.Advice, "the image would break a rule of the format: %s", v.Message)
}

// sortedSums gives the list as a consumer reads it.
func (b *builder) sortedSums() []spec.Sum {
	sums, err := spec.ParseSums(spec.FormatSums(b.sums))
	if err != nil {
		return nil // Check reports every file as unlisted then
	}
	return sums
}

// putJSON stores a document.
func (b *builder) putJSON(config ocispec.Image) (ocispec.Descriptor, error) {
	raw, err := encode(config)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if len(raw) > spec.MaxManifestSize {
		return ocispec.Descriptor{}, refuse(spec.RuleDocumentSize, "", "use fewer or shorter labels",
			"the config has %d bytes, %d are permitted", len(raw), spec.MaxManifestSize)
	}
	stored, err := b.stage.PutBlob(b.ctx, func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("storing the config: %w", err)
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: stored.Digest, Size: stored.Size}, nil
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

func (b *builder) result(dst transport.Reference, desc, config ocispec.Descriptor) *Result {
	p := b.plan
	r := &Result{
		Reference: dst.String(), Digest: desc.Digest, MediaType: desc.MediaType, Size: desc.Size,
		Platform: p.Platform, Created: p.Created, Labels: p.Labels,
		Config: ResultBlob{MediaType: config.MediaType, Digest: config.Digest, Size: config.Size},
		Files:  p.Files, FilesSize: p.Size,
	}
	for i, l := range b.layers {
		r.Layers = append(r.Layers, ResultBlob{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size, DiffID: b.diffIDs[i]})
	}
	return r
}
