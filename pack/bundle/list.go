package bundle

import (
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Listing is what a bundle says that it holds. Nothing of it is verified.
type Listing struct {
	Bundle string  `json:"bundle"`
	Delta  bool    `json:"delta"`
	Images []Image `json:"images"` // sorted by name
	Files  int     `json:"blobs"`  // that lie there, manifests too
	Bytes  int64   `json:"bytes"`  // of these
}

// Image is an image of a bundle.
type Image struct {
	Name      string        `json:"name"`
	MediaType string        `json:"media_type"`
	Digest    digest.Digest `json:"digest"`
	Platforms []string      `json:"platforms,omitempty"` // none: all
}

// List reads the names in a bundle. Other layouts are read, too; what has no full
// reference is listed by what it has.
func List(b *transport.Bundle, name string) (*Listing, error) {
	l := &Listing{Bundle: name, Delta: isDelta(b), Images: []Image{}}
	byName := map[string]Image{}
	for _, e := range b.Entries() {
		if marks(e) || isAttached(e) {
			continue
		}
		platforms, err := spec.BundlePlatforms(e)
		if err != nil {
			return nil, err
		}
		byName[entryName(e)+" "+e.Digest.String()] = Image{entryName(e), e.MediaType, e.Digest, platformNames(platforms)}
	}
	for _, key := range slices.Sorted(maps.Keys(byName)) {
		l.Images = append(l.Images, byName[key])
	}
	files, err := b.Files()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if _, ok := ocilayout.ParseBlobName(f.Name); ok && f.Size >= 0 {
			l.Files++
			l.Bytes += f.Size
		}
	}
	return l, nil
}
