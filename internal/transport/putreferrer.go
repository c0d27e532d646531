package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

// listTries is how often the list of referrers is written again because somebody
// else wrote it at the same time.
const listTries = 8

// PutReferrer brings a manifest or index that has a subject from src, with all that it
// names, and makes that it is found: a registry that has the API for it is asked
// whether it lists it; otherwise it is added to the index under the tag
// ALGORITHM-HEX of the subject, where every other byte stays. The subject need
// not be there. Doing it again changes nothing.
func (r *Repository) PutReferrer(ctx context.Context, src Source, d ocispec.Descriptor) error {
	body, mediaType, err := src.Manifest(ctx, d)
	if err != nil {
		return err
	}
	m, err := asReferrer(mediaType, body)
	if err != nil {
		return err
	}
	if m.Subject == nil {
		return fmt.Errorf("attach %s: it has no subject", d.Digest)
	}
	d = ocispec.Descriptor{MediaType: mediaType, Digest: d.Digest, Size: int64(len(body))}
	if err := r.Copy(ctx, src, d); err != nil {
		return err
	}
	if err := r.list(ctx, m.Subject.Digest, referrerEntry(d, m)); err != nil {
		return fmt.Errorf("list %s as a referrer of %s in %q: %w", d.Digest, m.Subject.Digest, r.ref, err)
	}
	return nil
}

// asReferrer reads what a manifest or index says of what it refers to. An index
// becomes a manifest without content. The subject has passed spec.CheckDescriptor.
func asReferrer(mediaType string, body []byte) (*ocispec.Manifest, error) {
	if !spec.IsIndex(mediaType) {
		return spec.ParseManifest(mediaType, body)
	}
	x, err := spec.ParseIndex(mediaType, body)
	if err != nil {
		return nil, err
	}
	return &ocispec.Manifest{MediaType: x.MediaType, ArtifactType: x.ArtifactType, Subject: x.Subject, Annotations: x.Annotations}, nil
}

// list makes sure that a referrer is found.
func (r *Repository) list(ctx context.Context, subject digest.Digest, entry ocispec.Descriptor) error {
	// Two that read the same index would each write it without the other's entry.
	done, err := r.lists.take(ctx, subject)
	if err != nil {
		return err
	}
	defer done()
	if store, ok := r.store.(*registryStore); ok {
		listed := false
		err := store.reading(func(e *endpoint) (err error) {
			listed, err = e.hasReferrer(ctx, subject, entry.Digest)
			return err
		})
		if err != nil || listed {
			return err
		}
	}
	return r.listByTag(ctx, AttachmentTag(subject, ""), entry)
}

// listByTag edits the index of referrers. Registries do not keep two writers
// apart, so it looks again after it has written, until the entry is there.
func (r *Repository) listByTag(ctx context.Context, tag string, entry ocispec.Descriptor) error {
	unlock, err := r.lockOnce(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for try := 1; try <= listTries; try++ {
		if try > 1 {
			// Others write, too. Not all of them come at the same time again.
			if err := r.c.backoff(ctx, min(try-1, 3), ErrChanged); err != nil {
				return err
			}
		}
		was, doc, err := r.referrerIndex(ctx, tag)
		if err != nil {
			return err
		}
		if hasDigest(doc.Index().Manifests, entry.Digest) {
			return nil
		}
		if doc.Len() >= maxReferrers {
			return httpclient.Refuse("%d manifests are listed there already", doc.Len())
		}
		if doc, err = doc.Insert(doc.Len(), entry); err != nil {
			return err
		}
		_, err = r.Put(ctx, tag, ocispec.MediaTypeImageIndex, doc.Bytes(), PutOptions{IfMatch: was})
		if err != nil && !errors.Is(err, ErrChanged) {
			return err
		}
		if err == nil {
			if _, doc, err = r.referrerIndex(ctx, tag); err != nil {
				return err
			}
			if hasDigest(doc.Index().Manifests, entry.Digest) {
				return nil
			}
		}
	}
	return ErrChanged
}

// lockOnce locks a layout, unless that is done already.
func (r *Repository) lockOnce(ctx context.Context) (func(), error) {
	if l, ok := r.store.(*layoutStore); ok {
		l.mu.Lock()
		held := l.held != nil
		l.mu.Unlock()
		if held {
			return func() {}, nil
		}
	}
	return r.Lock(ctx)
}

// referrerIndex reads the index of referrers, an empty one if there is none.
func (r *Repository) referrerIndex(ctx context.Context, tag string) (digest.Digest, *ociindex.Document, error) {
	d, body, err := r.Get(ctx, tag)
	if isAbsent(err) {
		return "", ociindex.New(nil), nil
	}
	if err != nil {
		return "", nil, err
	}
	if d.MediaType != ocispec.MediaTypeImageIndex {
		return "", nil, spec.Refuse(ruleMediaType, tag, "the tag of the referrers names a %q, not an index", d.MediaType)
	}
	doc, err := ociindex.Parse(body)
	return d.Digest, doc, err
}
