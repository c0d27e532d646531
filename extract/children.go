package extract

import (
	"context"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// IndexTag reads a manifest, and gives the tag of the index that it says its tag
// is a child's of, empty for none. docs/indexes.md has the rule.
func IndexTag(ctx context.Context, src transport.Source, top ocispec.Descriptor, tag string) (string, error) {
	if !spec.IsManifest(top.MediaType) {
		return "", nil
	}
	body, mediaType, err := src.Manifest(ctx, top)
	if err != nil {
		return "", err
	}
	m, err := spec.ParseManifest(mediaType, body)
	if err != nil {
		return "", nil // whoever pulls it will hear of it
	}
	index := m.Annotations[spec.AnnotationIndexTag]
	if !strings.HasPrefix(tag, index+"-") {
		return "", nil
	}
	return index, nil
}
