package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

// maxReferrers bounds what may refer to one manifest: whoever may write to a
// repository could attach without end.
const maxReferrers = 1024

// AttachmentSource is a Source that also knows what is attached to its
// manifests: signatures, lists of contents, statements about the build.
type AttachmentSource interface {
	Source
	// Referrers lists the manifests whose subject is d, as the distribution
	// specification says: by the API, else by the index under the AttachmentTag.
	// artifactType "" lists all. None, or no manifest d, is no
	// error. Nothing is believed of the descriptors but that they are well-formed.
	Referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error)
	// Attached describes the manifest under the AttachmentTag with suffix, where
	// cosign kept things before there were referrers; false if there is none.
	Attached(ctx context.Context, d digest.Digest, suffix string) (ocispec.Descriptor, bool, error)
}

// Attachments gives src as a source of attachments. Archives of single images
// and the storage of podman have no place for them; the error is one of usage.
func Attachments(src Source) (AttachmentSource, error) {
	if a, ok := src.(AttachmentSource); ok {
		return a, nil
	}
	return nil, badRef("read it from a registry or a layout (oci:DIR)", "there are no signatures in dir: directories and in the storage of podman")
}

// Referrers lists what refers to a manifest, as [AttachmentSource] does, but from
// the repository itself.
func (r *Repository) Referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	if _, err := spec.ParseDigest(d.String()); err != nil {
		return nil, err
	}
	found, err := r.listReferrers(ctx, d, artifactType)
	if err != nil {
		return nil, fmt.Errorf("list the referrers of %s in %q: %w", d, r.ref, err)
	}
	return found, nil
}

func (r *Repository) listReferrers(ctx context.Context, d digest.Digest, artifactType string) (found []ocispec.Descriptor, err error) {
	switch store := r.store.(type) {
	case *registryStore:
		err = store.reading(func(e *endpoint) error {
			found, err = e.referrers(ctx, d, artifactType)
			return err
		})
	case *layoutStore:
		var src *layoutSource
		if src, err = openLayout(store.at("", d)); err != nil {
			if isAbsent(err) {
				return nil, nil
			}
			return nil, err
		}
		defer src.Close()
		found, err = src.Referrers(ctx, d, artifactType)
	}
	return found, err
}

func isAbsent(err error) bool {
	var absent *NotFoundError
	return errors.As(err, &absent)
}

// referrers asks one place, first by the API.
func (e *endpoint) referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	found, err := e.collect(ctx, d, artifactType, true)
	if err == nil || ctx.Err() != nil || !lacksAPI(err) {
		return found, err
	}
	return e.collect(ctx, d, artifactType, false)
}

// hasReferrer tells whether the API lists a manifest among those of d.
func (e *endpoint) hasReferrer(ctx context.Context, subject, d digest.Digest) (bool, error) {
	found, err := e.collect(ctx, subject, "", true)
	if err != nil {
		if lacksAPI(err) {
			return false, nil
		}
		return false, err
	}
	return hasDigest(found, d), nil
}

func hasDigest(list []ocispec.Descriptor, d digest.Digest) bool {
	for _, o := range list {
		if o.Digest == d {
			return true
		}
	}
	return false
}

// collect reads all pages, by the API or by tag.
func (e *endpoint) collect(ctx context.Context, d digest.Digest, artifactType string, api bool) ([]ocispec.Descriptor, error) {
	repo := e.repository()
	_ = repo.SetReferrersCapability(true) // it fails only where it was set before
	repo.MaxMetadataBytes = spec.MaxManifestSize
	repo.ReferrerListMaxPages = maxReferrers
	list := repo.Referrers
	if !api {
		list = byTag(repo)
	}
	var found []ocispec.Descriptor
	err := list(ctx, ocispec.Descriptor{Digest: d}, artifactType, func(page []ocispec.Descriptor) error {
		for _, r := range page {
			if spec.CheckDescriptor(r) == nil && !hasDigest(found, r.Digest) {
				found = append(found, r)
			}
		}
		if len(found) > maxReferrers {
			return httpclient.Refuse("more than %d manifests refer to %s", maxReferrers, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// byTag is the Referrers of a repository for a registry without the API. oras-go does
// not cut long digests, and asks for tags that cannot be.
func byTag(repo *remote.Repository) func(context.Context, ocispec.Descriptor, string, func([]ocispec.Descriptor) error) error {
	return func(ctx context.Context, subject ocispec.Descriptor, artifactType string, f func([]ocispec.Descriptor) error) error {
		d, r, err := repo.FetchReference(ctx, AttachmentTag(subject.Digest, ""))
		if errors.Is(err, errdef.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		defer r.Close()
		// There are registries that give the subject for its digest in a tag.
		if d.MediaType != ocispec.MediaTypeImageIndex || d.Digest == subject.Digest {
			return nil
		}
		if d.Size > spec.MaxManifestSize {
			return spec.Refuse(spec.RuleDocumentSize, d.Digest.String(), "the list of referrers has %d bytes, at most %d are accepted", d.Size, spec.MaxManifestSize)
		}
		body, err := content.ReadAll(r, d)
		if err != nil {
			return err
		}
		var index ocispec.Index
		if err := json.Unmarshal(body, &index); err != nil {
			return fmt.Errorf("decode the list of referrers %s: %w", d.Digest, err)
		}
		return f(slices.DeleteFunc(index.Manifests, func(o ocispec.Descriptor) bool {
			return artifactType != "" && o.ArtifactType != artifactType
		}))
	}
}

// lacksAPI tells whether an answer means that a registry does not know
// referrers. Those of older times say it in several ways.
func lacksAPI(err error) bool {
	var resp *errcode.ErrorResponse
	if !errors.As(err, &resp) {
		return errors.Is(err, errdef.ErrUnsupported)
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		return true
	}
	return false
}

// Referrers implements AttachmentSource. Mirrors often have images without what
// refers to them, so every place is asked, and what is found anywhere counts:
// it is verified by what it says, not by where it was found.
func (r *registrySource) Referrers(ctx context.Context, d digest.Digest, artifactType string) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	err := r.everywhere(ctx, d, func(ctx context.Context, e *endpoint) (bool, error) {
		some, err := e.referrers(ctx, d, artifactType)
		for _, s := range some {
			if !hasDigest(found, s.Digest) {
				found = append(found, s)
			}
		}
		return len(found) > 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the referrers of %s in %q: %w", d, r.s.ref, err)
	}
	return found, nil
}

// Attached implements AttachmentSource.
func (r *registrySource) Attached(ctx context.Context, d digest.Digest, suffix string) (ocispec.Descriptor, bool, error) {
	var found ocispec.Descriptor
	var there bool
	tag := AttachmentTag(d, suffix)
	err := r.everywhere(ctx, d, func(ctx context.Context, e *endpoint) (bool, error) {
		if there {
			return true, nil
		}
		// Borrowed, with the name of the tag in its errors.
		of := &registrySource{s: &session{c: r.s.c, ref: Reference{Transport: Docker, Name: r.s.ref.Name, Tag: tag}}}
		got, err := of.head(ctx, e, "manifests/"+tag)
		switch {
		case isAbsent(err):
			return false, nil
		case err == nil:
			found, there = got, true
		}
		return there, err
	})
	if err != nil {
		return found, false, fmt.Errorf("look for tag %q of %q: %w", tag, r.s.ref.Name, err)
	}
	return found, there, nil
}

// everywhere asks all places. It fails if nothing was found and one of them did
// not answer: then nobody knows.
func (r *registrySource) everywhere(ctx context.Context, d digest.Digest, f func(ctx context.Context, e *endpoint) (found bool, err error)) error {
	if _, err := spec.ParseDigest(d.String()); err != nil {
		return err
	}
	ctx, cancel := r.bound(ctx)
	defer cancel()
	all, err := r.s.endpoints(r.named)
	if err != nil {
		return err
	}
	var last error
	found := false
	for _, e := range all {
		some, err := f(ctx, e)
		found = found || some
		if err != nil {
			last = err
			r.s.c.logf("registry %q: %v", e.host, err)
		}
		if ctx.Err() != nil {
			return err
		}
	}
	if found {
		return nil
	}
	return last
}
