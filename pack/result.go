package pack

import (
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Result tells about one manifest that was published. It is part of the JSON
// that "nbpack build" prints.
type Result struct {
	Reference string        `json:"reference"`     // where it is
	URL       string        `json:"url,omitempty"` // oci://HOST/REPOSITORY@DIGEST, if that is a registry
	Digest    digest.Digest `json:"digest"`        // of the manifest
	MediaType string        `json:"mediaType"`     // of the manifest
	// ArtifactType of the manifest; empty for an image.
	ArtifactType string `json:"artifactType,omitempty"`
	Size         int64  `json:"size"` // bytes of the manifest
	// Title of a single file, and the disktype that the manifest says.
	Title    string     `json:"title,omitempty"`
	DiskType string     `json:"disktype,omitempty"`
	Platform string     `json:"platform"`
	Created  *time.Time `json:"created,omitempty"`
	// Labels are those of the format and of the user. Artifacts have them as
	// annotations.
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
	DiffID    digest.Digest `json:"diffID,omitempty"` // of a tar layer: digest of its tar
}

// Descriptor gives the manifest as an index would name it.
func (r *Result) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: r.MediaType, ArtifactType: r.ArtifactType, Digest: r.Digest, Size: r.Size}
}

func (j *job) result() Result {
	m, p := j.docs.manifest, j.plan
	r := Result{
		Reference: j.dst.String(), URL: contentURL(j.dst, j.docs.desc.Digest),
		Digest: j.docs.desc.Digest, MediaType: j.docs.desc.MediaType, ArtifactType: m.ArtifactType, Size: j.docs.desc.Size,
		Title: j.title, DiskType: j.annotations[spec.AnnotationDiskType],
		Platform: p.Platform, Created: p.Created, Labels: p.Labels,
		Config: ResultBlob{MediaType: m.Config.MediaType, Digest: m.Config.Digest, Size: m.Config.Size},
	}
	r.Files, r.FilesSize = countFiles(j.layers)
	for i, l := range m.Layers {
		blob := ResultBlob{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}
		if j.docs.config != nil {
			blob.DiffID = j.docs.config.RootFS.DiffIDs[i]
		}
		r.Layers = append(r.Layers, blob)
	}
	return r
}

// contentURL is how Ironic names content in a registry; empty for other places.
func contentURL(dst transport.Reference, d digest.Digest) string {
	if dst.Transport != transport.Docker {
		return ""
	}
	return "oci://" + dst.Name + "@" + d.String()
}
