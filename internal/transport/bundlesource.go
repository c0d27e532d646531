package transport

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

// bundleSource reads one image of a bundle as if it were in its registry.
type bundleSource struct {
	*Bundle
	want Reference
}

// Source gives the image that ref, a registry reference, names in the bundle, and
// what is attached to it. Nothing is asked over a network. The bundle must stay
// open while the Source is used.
func (b *Bundle) Source(ref Reference) (AttachmentSource, error) {
	if ref.Transport != Docker {
		return nil, badRef("images have the names in a bundle that they have in their registries", "%q is no image of a registry", ref)
	}
	return &bundleSource{b, ref}, nil
}

// Close implements Source. The bundle stays open.
func (s *bundleSource) Close() error { return nil }

// Tags lists the tags of a repository that the bundle has images under, sorted; and
// those of attachments that do not say of which repository they are.
func (b *Bundle) Tags(repository string) []string {
	var tags []string
	for name := range b.byName {
		if ref, err := ParseBundleName(name); err == nil && ref.Name == repository && ref.Tag != "" {
			tags = append(tags, ref.Tag)
		} else if IsAttachment(name) {
			tags = append(tags, name)
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// Resolve implements Source. A tag is found with and without the digest that it
// was pinned to; a digest wherever the bundle has an image of that repository.
func (s *bundleSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return ocispec.Descriptor{}, err
	}
	found, known := s.named()
	switch {
	case len(found) > 0:
		return theOnly(found, BundleName(s.want))
	case s.want.Digest != "" && known:
		return s.byDigest(ctx, s.want.Digest)
	}
	return ocispec.Descriptor{}, &NotFoundError{Ref: s.ref.String(), What: fmt.Sprintf("image %q", BundleName(s.want)), Have: s.near(known)}
}

// theOnly gives the one of several entries with a name: they may say the same.
func theOnly(found []ocispec.Descriptor, name string) (ocispec.Descriptor, error) {
	var one []ocispec.Descriptor
	for _, d := range found {
		if !hasDigest(one, d.Digest) {
			one = append(one, d)
		}
	}
	if len(one) > 1 {
		return ocispec.Descriptor{}, spec.Refuse(ruleLayout, ocispec.ImageIndexFile, "%d different images are named %q", len(one), name)
	}
	if err := spec.CheckDescriptor(one[0]); err != nil {
		return one[0], fmt.Errorf("entry of %s: %w", ocispec.ImageIndexFile, err)
	}
	return one[0], nil
}

// named gives the entries that are meant, and whether there is any of their
// repository.
func (s *bundleSource) named() (found []ocispec.Descriptor, known bool) {
	for _, d := range s.byName[BundleName(s.want)] {
		if s.want.Digest == "" || s.want.Digest == d.Digest {
			found = append(found, d)
		}
	}
	if len(found) > 0 {
		return found, true
	}
	for _, e := range s.byRepo[s.want.Name] {
		if s.want.Digest != "" && e.desc.Digest == s.want.Digest || s.want.Digest == "" && e.ref.Tag == s.want.Tag {
			found = append(found, e.desc)
		}
	}
	return found, len(s.byRepo[s.want.Name]) > 0
}

// near lists what is there instead: images of the same repository if there are any.
// Nobody misses an attachment by mistake, and they are looked for often.
func (s *bundleSource) near(known bool) []string {
	if IsAttachment(s.want.Tag) {
		return nil
	}
	repos := map[string][]bundleEntry{s.want.Name: s.byRepo[s.want.Name]}
	if !known {
		repos = s.byRepo
	}
	var names []string
	for _, entries := range repos {
		for _, e := range entries {
			if name := ocilayout.RefName(e.desc); !isAttachment(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Referrers implements AttachmentSource.
func (s *bundleSource) Referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	if _, err := spec.ParseDigest(d.String()); err != nil {
		return nil, err
	}
	var found []ocispec.Descriptor
	for _, name := range attachedNames(s.want.Name, AttachmentTag(d, "")) {
		for _, entry := range s.byName[name] {
			if spec.CheckDescriptor(entry) != nil || !spec.IsIndex(entry.MediaType) {
				continue
			}
			listed, err := s.listed(ctx, entry)
			if err != nil {
				return nil, fmt.Errorf("list the referrers of %s in %q: %w", d, s.ref, err)
			}
			for _, o := range listed {
				if spec.CheckDescriptor(o) == nil && (artifactType == "" || o.ArtifactType == artifactType) && !hasDigest(found, o.Digest) {
					found = append(found, o)
				}
			}
		}
	}
	if len(found) > maxReferrers {
		return nil, httpclient.Refuse("more than %d manifests refer to %s", maxReferrers, d)
	}
	return found, nil
}

// Attached implements AttachmentSource.
func (s *bundleSource) Attached(ctx context.Context, d digest.Digest, suffix string) (ocispec.Descriptor, bool, error) {
	if _, err := spec.ParseDigest(d.String()); err != nil {
		return ocispec.Descriptor{}, false, err
	}
	for _, name := range attachedNames(s.want.Name, AttachmentTag(d, suffix)) {
		if found := s.byName[name]; len(found) > 0 {
			one, err := theOnly(found, name)
			return one, err == nil, err
		}
	}
	return ocispec.Descriptor{}, false, ctx.Err()
}

// Suffixes lists those with which Attached finds something, sorted. d is a digest that
// has passed spec.ParseDigest.
func (s *bundleSource) Suffixes(d digest.Digest) []string {
	var found []string
	for _, name := range attachedNames(s.want.Name, AttachmentTag(d, "")) {
		found = append(found, s.suffixes[name]...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// attachedNames are the names under which a layout may have what a registry has
// under a tag: that of the repository first, if the layout holds several.
func attachedNames(repository, tag string) []string {
	if repository == "" {
		return []string{tag}
	}
	return []string{repository + ":" + tag, tag}
}

// repositoryOf is the repository that an image in a layout is of, "" if its name
// does not tell.
func repositoryOf(ref Reference) string {
	if !strings.Contains(ref.Tag, "/") {
		return ""
	}
	full, err := ParseBundleName(ref.Tag)
	if err != nil {
		return ""
	}
	return full.Name
}

// offline answers requests of a client that reads a bundle: there are none.
type offline struct{ bundle Reference }

// RoundTrip implements http.RoundTripper.
func (o offline) RoundTrip(req *http.Request) (*http.Response, error) {
	return nil, httpclient.Refuse("images are read from %q, and %q is not asked", o.bundle, req.URL.Host)
}
