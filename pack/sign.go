package pack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// SignOptions say how to sign.
type SignOptions struct {
	// Annotations are signed, too; verifiers can demand them.
	Annotations map[string]string
	// Alone signs an index without what it names.
	Alone bool
	// Legacy writes simple-signing signatures under .sig tags beside the bundles,
	// for tools that do not know those.
	Legacy bool
	// Created is when; it is not signed. Zero: nothing is said.
	Created time.Time
}

// Signed is a manifest or index that has been signed.
type Signed struct {
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	// Key is the ID of the key, as "nbpack verify" shows it.
	Key string `json:"key"`
	// Changed tells whether a signature was made. It is not where there was one
	// already by the same key, of the same words.
	Changed bool `json:"changed"`
}

// Sign signs the image, artifact or index that ref names, in its repository, and
// all that an index names, those first. What is signed is the digest that ref
// names at the beginning, also if a tag moves meanwhile.
func Sign(ctx context.Context, client *transport.Client, ref transport.Reference, key *trust.PrivateKey, o SignOptions) (done []Signed, err error) {
	repo, err := client.Repository(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	src, err := client.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	reader, err := transport.Attachments(src)
	if err != nil {
		return nil, err
	}
	all, err := manifestsOf(ctx, src, !o.Alone)
	if err != nil {
		return nil, err
	}
	s := &signing{repo: repo, reader: reader, key: key, o: o}
	if ref.Transport == transport.Docker {
		s.repository = ref.Name
	}
	for _, d := range all {
		changed, err := s.sign(ctx, d)
		if err != nil {
			return done, fmt.Errorf("sign %s: %w", d.Digest, err)
		}
		done = append(done, Signed{Digest: d.Digest, MediaType: d.MediaType, Key: key.Public().ID(), Changed: changed})
	}
	return done, nil
}

// signing is one Sign.
type signing struct {
	repo       *transport.Repository
	reader     transport.AttachmentSource
	key        *trust.PrivateKey
	repository string
	o          SignOptions
}

func (s *signing) sign(ctx context.Context, d ocispec.Descriptor) (changed bool, err error) {
	r := trust.Request{Subject: d, Repository: s.repository, Annotations: s.o.Annotations, Created: s.o.Created}
	there, err := trust.HasBundle(ctx, s.reader, s.key.Public(), r)
	if err != nil {
		return false, err
	}
	if !there {
		a, err := trust.SignBundle(s.key, r)
		if err != nil {
			return false, err
		}
		if err := s.repo.PutReferrer(ctx, newAttached(a), a.Descriptor()); err != nil {
			return false, err
		}
	}
	if !s.o.Legacy {
		return !there, nil
	}
	simple, err := s.signSimple(ctx, r)
	return simple || !there, err
}

// maxSignTries is how often the .sig tag is read again because somebody else wrote
// it.
const maxSignTries = 8

// signSimple adds a signature to the image under the .sig tag.
func (s *signing) signSimple(ctx context.Context, r trust.Request) (changed bool, err error) {
	tag := transport.AttachmentTag(r.Subject.Digest, trust.SuffixSimple)
	unlock, err := s.repo.Lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	for range maxSignTries {
		was, have, err := s.repo.Get(ctx, tag)
		var none *transport.NotFoundError
		if err != nil && !errors.As(err, &none) {
			return changed, err
		}
		a, err := trust.SignSimple(s.key, r, have)
		if err != nil || a == nil {
			return changed, err
		}
		// Registries do not keep two writers apart, so the next turn looks
		// whether the signature is there.
		if err := s.putSimple(ctx, tag, a, was.Digest); err != nil && !errors.Is(err, transport.ErrChanged) {
			return changed, err
		}
		changed = true
	}
	return changed, transport.ErrChanged
}

func (s *signing) putSimple(ctx context.Context, tag string, a *trust.Attachment, was digest.Digest) error {
	if err := s.repo.Copy(ctx, newAttached(a), a.Descriptor()); err != nil {
		return err
	}
	_, err := s.repo.Put(ctx, tag, ocispec.MediaTypeImageManifest, a.Manifest, transport.PutOptions{IfMatch: was})
	return err
}
