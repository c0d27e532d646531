package pack

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Info is what an image says about itself. It is the JSON that "nbpack inspect"
// prints.
type Info struct {
	Reference string        `json:"reference"`
	Digest    digest.Digest `json:"digest"`    // of the image manifest
	MediaType string        `json:"mediaType"` // of the image manifest
	Size      int64         `json:"size"`      // bytes of the image manifest
	Form      spec.Form     `json:"form"`
	// ArtifactType of the manifest; empty for an image.
	ArtifactType string     `json:"artifactType,omitempty"`
	Platform     string     `json:"platform"` // empty where it is not said
	Created      *time.Time `json:"created,omitempty"`
	// Labels of the config. What names its files itself has no config; these
	// are then the netboot labels among its annotations.
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	Config      ResultBlob        `json:"config"`
	Layers      []InfoLayer       `json:"layers"`
	// Files are the lines of SHA256SUM, if the first layer holds it, or the
	// files that a manifest names itself.
	Files []InfoFile `json:"files"`
}

// InfoLayer is one layer as the manifest describes it.
type InfoLayer struct {
	ResultBlob
	Annotations map[string]string `json:"annotations,omitempty"`
}

// InfoFile is one file as SHA256SUM lists it, or as the manifest names it.
type InfoFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"` // empty if the manifest does not say it
}

// Inspect reads manifest, config and the first layer, if that is small, and
// judges nothing: Lint does that. The payload is not fetched.
func Inspect(ctx context.Context, src transport.Source, reference string) (*Info, error) {
	docs, err := readDocuments(ctx, src)
	if err != nil {
		return nil, err
	}
	m := docs.manifest
	info := &Info{
		Reference: reference, Digest: docs.desc.Digest, MediaType: docs.desc.MediaType, Size: docs.desc.Size,
		Form: spec.FormOf(m, nil), ArtifactType: m.ArtifactType, Annotations: m.Annotations,
		Config: ResultBlob{MediaType: m.Config.MediaType, Digest: m.Config.Digest, Size: m.Config.Size},
	}
	for _, l := range m.Layers {
		info.Layers = append(info.Layers, InfoLayer{ResultBlob{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}, l.Annotations})
	}
	if docs.namesFiles() {
		return info, info.named(m)
	}
	info.configured(docs.config)
	info.Files, err = listFiles(ctx, src, m.Layers)
	return info, err
}

// configured adds what the config says.
func (info *Info) configured(config *ocispec.Image) {
	info.Created, info.Labels = config.Created, config.Config.Labels
	if p, ok := spec.PlatformOf(&config.Platform); ok {
		info.Platform = p.String()
	}
	for i := range min(len(info.Layers), len(config.RootFS.DiffIDs)) {
		info.Layers[i].DiffID = config.RootFS.DiffIDs[i]
	}
}

// named adds what a manifest says that names its files itself.
func (info *Info) named(m *ocispec.Manifest) error {
	var err error
	if info.Labels, err = spec.ArtifactLabels(m, nil); err != nil {
		return err
	}
	p, ok, err := spec.ArtifactPlatform(info.Labels, nil)
	if err != nil {
		return err
	}
	if ok {
		info.Platform = p.String()
	}
	if at, err := time.Parse(time.RFC3339, m.Annotations[ocispec.AnnotationCreated]); err == nil {
		info.Created = &at
	}
	for _, l := range m.Layers {
		file, ok, err := spec.ParseArtifactLayer(l)
		if err != nil {
			return err
		}
		if ok {
			info.Files = append(info.Files, InfoFile{Path: file.Path, SHA256: file.SHA256()})
		}
	}
	return nil
}

// listFiles reads SHA256SUM from the first layer. In an image whose first layer
// is larger than that file may be, it must lie elsewhere, and nothing is read.
func listFiles(ctx context.Context, src transport.Source, layers []ocispec.Descriptor) ([]InfoFile, error) {
	if len(layers) == 0 || layers[0].Size > spec.MaxSumsSize {
		return nil, nil
	}
	if bound, declared, err := spec.LayerBound(layers[0]); err != nil || declared && bound > 2*spec.MaxSumsSize {
		return nil, err
	}
	c := &content{}
	if err := c.readLayer(ctx, src, layers[0], 0); err != nil {
		return nil, err
	}
	sums, err := spec.ParseSums(c.sums)
	if err != nil {
		return nil, err
	}
	var files []InfoFile
	for _, s := range sums {
		files = append(files, InfoFile(s))
	}
	slices.SortFunc(files, func(a, b InfoFile) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}
