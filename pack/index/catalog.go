package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// CatalogOptions say which tags become the releases of a catalog index.
type CatalogOptions struct {
	// Tags and Exclude are patterns of path.Match: a tag is taken that matches
	// one of the first and none of the second.
	Tags, Exclude []string
	// DryRun computes the index and writes nothing.
	DryRun bool
}

// Catalog is a catalog index.
type Catalog struct {
	Digest   digest.Digest `json:"digest"`
	Size     int64         `json:"size"`    // bytes
	Changed  bool          `json:"changed"` // it was, or would be, written
	Releases []Release     `json:"releases"`
}

// Release is one entry of it.
type Release struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
}

// writeCatalog is how often a catalog index is computed again because another
// writer was faster.
const writeCatalog = 5

// MakeCatalog gathers what tags of a repository name into one index under a tag
// of its own, so that a client learns with one question whether any of them
// moved. Children of an index that is taken, tombstones and the tags of
// referrers are left out. The index is always made anew: the same tags give the
// same bytes, and nothing is written when it is there already. A tag that names
// something else is refused.
func MakeCatalog(ctx context.Context, repo Repository, tag string, o CatalogOptions) (*Catalog, error) {
	for range writeCatalog {
		c, err := makeCatalog(ctx, repo, tag, o)
		if !errors.Is(err, transport.ErrChanged) {
			return c, err
		}
	}
	return nil, fmt.Errorf("write catalog index %q: others change it all the time", tag)
}

func makeCatalog(ctx context.Context, repo Repository, tag string, o CatalogOptions) (*Catalog, error) {
	unlock, err := repo.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	was, err := catalogNow(ctx, repo, tag)
	if err != nil {
		return nil, err
	}
	entries, err := releases(ctx, repo, tag, o)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries,
		Annotations: map[string]string{spec.AnnotationIndexCatalog: "1"},
	})
	if err != nil {
		return nil, fmt.Errorf("encode catalog index %q: %w", tag, err)
	}
	if len(body) > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleDocumentSize, "", "a catalog index of %d releases has %d bytes, at most %d are accepted", len(entries), len(body), spec.MaxManifestSize)
	}
	c := &Catalog{Digest: digest.FromBytes(body), Size: int64(len(body)), Releases: []Release{}}
	for _, e := range entries {
		c.Releases = append(c.Releases, Release{e.Annotations[ocispec.AnnotationRefName], e.Digest, e.MediaType})
	}
	c.Changed = c.Digest != was
	if c.Changed && !o.DryRun {
		_, err = repo.Put(ctx, tag, ocispec.MediaTypeImageIndex, body, transport.PutOptions{IfMatch: was})
	}
	return c, err
}

// catalogNow gives the digest of the catalog index that is there, empty for none.
func catalogNow(ctx context.Context, repo Repository, tag string) (digest.Digest, error) {
	d, body, err := repo.Get(ctx, tag)
	var none *transport.NotFoundError
	if errors.As(err, &none) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read tag %q: %w", tag, err)
	}
	index, err := spec.ParseIndex(d.MediaType, body)
	if err != nil || index.Annotations[spec.AnnotationIndexCatalog] != "1" {
		r := spec.Refuse(spec.RuleMediaType, "", "the tag %q names something that is no catalog index", tag)
		r.Advice = "take another tag for the catalog index, or remove what is there"
		return "", r
	}
	return d.Digest, nil
}

// releases reads what the tags name, and gives the entries in the order of the
// tags.
func releases(ctx context.Context, repo Repository, own string, o CatalogOptions) ([]ocispec.Descriptor, error) {
	all, err := repo.Tags(ctx)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, tag := range all {
		if tag != own && matchTag(o.Tags, tag) && !matchTag(o.Exclude, tag) && !transport.IsAttachment(tag) {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	var entries []ocispec.Descriptor
	for _, tag := range tags {
		d, body, err := repo.Get(ctx, tag)
		var none *transport.NotFoundError
		if errors.As(err, &none) {
			continue // removed since the list was made
		}
		if err != nil {
			return nil, fmt.Errorf("read tag %q: %w", tag, err)
		}
		if m, err := spec.ParseManifest(d.MediaType, body); spec.IsManifest(d.MediaType) {
			if err != nil {
				return nil, fmt.Errorf("read tag %q: %w", tag, err)
			}
			of := m.Annotations[spec.AnnotationIndexTag]
			if m.ArtifactType == spec.TombstoneType || strings.HasPrefix(tag, of+"-") && slices.Contains(tags, of) {
				continue
			}
		}
		entries = append(entries, ocispec.Descriptor{
			MediaType: d.MediaType, Digest: d.Digest, Size: int64(len(body)),
			Annotations: map[string]string{ocispec.AnnotationRefName: tag},
		})
	}
	if len(entries) == 0 {
		return nil, &transport.NotFoundError{Ref: own, What: "any tag for the catalog index", Have: all}
	}
	return entries, nil
}

func matchTag(patterns []string, tag string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, tag)
		return ok && err == nil
	})
}
