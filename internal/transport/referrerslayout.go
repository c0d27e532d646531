package transport

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

// ReferrerOf describes a manifest or index as a list of referrers does, from its
// own words; false if it does not refer to subject.
func ReferrerOf(subject digest.Digest, mediaType string, body []byte) (ocispec.Descriptor, bool, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	m, err := asReferrer(mediaType, body)
	if err != nil || m.Subject == nil || m.Subject.Digest != subject {
		return d, false, err
	}
	return referrerEntry(d, m), true, nil
}

// Referrers implements AttachmentSource. A layout has them in its index.json, as
// entries of their own, or listed under the name that registries use as a tag.
func (s *layoutSource) Referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	found, err := s.referrers(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("list the referrers of %s in %q: %w", d, s.ref, err)
	}
	out := found[:0]
	for _, f := range found {
		if artifactType == "" || f.ArtifactType == artifactType {
			out = append(out, f)
		}
	}
	return out, nil
}

func (s *layoutSource) referrers(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	if _, err := spec.ParseDigest(d.String()); err != nil {
		return nil, err
	}
	idx, _, err := ocilayout.ReadIndex(s.files)
	if err != nil {
		return nil, err
	}
	names := attachedNames(repositoryOf(s.ref), AttachmentTag(d, ""))
	var found []ocispec.Descriptor
	for _, entry := range idx.Manifests {
		if spec.CheckDescriptor(entry) != nil {
			continue
		}
		var some []ocispec.Descriptor
		if slices.Contains(names, ocilayout.RefName(entry)) && spec.IsIndex(entry.MediaType) {
			some, err = s.listed(ctx, entry)
		} else {
			some, err = s.refersTo(ctx, entry, d)
		}
		if err != nil {
			return nil, err
		}
		for _, o := range some {
			if spec.CheckDescriptor(o) == nil && !hasDigest(found, o.Digest) {
				found = append(found, o)
			}
		}
		if len(found) > maxReferrers {
			return nil, httpclient.Refuse("more than %d manifests refer to %s", maxReferrers, d)
		}
	}
	return found, nil
}

// listed gives the entries of an index of referrers.
func (s *local) listed(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	body, mediaType, err := s.Manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	index, err := spec.ParseIndex(mediaType, body)
	if err != nil {
		return nil, err
	}
	return index.Manifests, nil
}

// refersTo gives entry if the subject of its manifest is d.
func (s *layoutSource) refersTo(ctx context.Context, entry ocispec.Descriptor, d digest.Digest) ([]ocispec.Descriptor, error) {
	if entry.Digest == d || entry.MediaType != ocispec.MediaTypeImageManifest {
		return nil, nil
	}
	body, mediaType, err := s.Manifest(ctx, entry)
	if isAbsent(err) {
		return nil, nil // a layout may be sparse
	}
	if err != nil {
		return nil, err
	}
	m, err := spec.ParseManifest(mediaType, body)
	if err != nil || m.Subject == nil || m.Subject.Digest != d {
		return nil, nil // what cannot be read refers to nothing
	}
	return []ocispec.Descriptor{referrerEntry(entry, m)}, nil
}

// referrerEntry is how a list of referrers describes one (distribution
// specification, "Pushing manifests with subject").
func referrerEntry(d ocispec.Descriptor, m *ocispec.Manifest) ocispec.Descriptor {
	e := ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	if e.ArtifactType == "" {
		e.ArtifactType = m.Config.MediaType
	}
	return e
}

// Attached implements AttachmentSource.
func (s *layoutSource) Attached(ctx context.Context, d digest.Digest, suffix string) (ocispec.Descriptor, bool, error) {
	if _, err := spec.ParseDigest(d.String()); err != nil {
		return ocispec.Descriptor{}, false, err
	}
	if err := ctx.Err(); err != nil {
		return ocispec.Descriptor{}, false, err
	}
	idx, _, err := ocilayout.ReadIndex(s.files)
	if err != nil {
		return ocispec.Descriptor{}, false, fmt.Errorf("read %q: %w", s.ref, err)
	}
	for _, name := range attachedNames(repositoryOf(s.ref), AttachmentTag(d, suffix)) {
		var found []ocispec.Descriptor
		for _, entry := range idx.Manifests {
			if ocilayout.RefName(entry) == name {
				found = append(found, entry)
			}
		}
		if len(found) > 0 {
			one, err := theOnly(found, name)
			return one, err == nil, err
		}
	}
	return ocispec.Descriptor{}, false, nil
}
