package trust

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What cosign calls things, so that its readers find them.
const (
	annotationContent   = "dev.sigstore.bundle.content"
	annotationPredicate = "dev.sigstore.bundle.predicateType"
	annotationSignature = "dev.cosignproject.cosign/signature"
	mediaTypeSimple     = "application/vnd.dev.cosign.simplesigning.v1+json"
)

// SuffixSimple is that of the tag that holds the simple-signing signatures of a
// manifest.
const SuffixSimple = "sig"

// Attachment is a manifest that holds signatures, and the blobs it names.
type Attachment struct {
	Manifest []byte // an OCI image manifest
	Blobs    [][]byte
}

// Request is what is to be signed.
type Request struct {
	// Subject is the manifest or index, with media type, digest and size.
	Subject ocispec.Descriptor
	// Repository is "HOST/NAME" where the subject is in a registry, else "".
	Repository string
	// Annotations are signed, too.
	Annotations map[string]string
	// Created is written beside a bundle, unsigned. Zero: nothing is.
	Created time.Time
}

func (r *Request) claim() claim {
	return claim{digests: []digest.Digest{r.Subject.Digest}, repository: r.Repository, annotations: r.Annotations}
}

// SignBundle signs a manifest and gives the referrer that holds the bundle, as
// cosign 3 writes it.
func SignBundle(key *PrivateKey, r Request) (*Attachment, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	says, err := makeStatement(r.claim())
	if err != nil {
		return nil, err
	}
	b, err := signBundle(key, says)
	if err != nil {
		return nil, err
	}
	empty := []byte("{}")
	config := describe(ocispec.MediaTypeEmptyJSON, empty)
	notes := map[string]string{annotationContent: "dsse-envelope", annotationPredicate: claimType}
	if !r.Created.IsZero() {
		notes[ocispec.AnnotationCreated] = r.Created.UTC().Format(time.RFC3339)
	}
	m, err := encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		ArtifactType: MediaTypeBundle, Config: config, Layers: []ocispec.Descriptor{describe(MediaTypeBundle, b)},
		Subject:     &ocispec.Descriptor{MediaType: r.Subject.MediaType, Digest: r.Subject.Digest, Size: r.Subject.Size},
		Annotations: notes,
	})
	if err != nil {
		return nil, err
	}
	return &Attachment{Manifest: m, Blobs: [][]byte{empty, b}}, nil
}

// SignSimple signs a manifest in the older form. have is the manifest under the
// .sig tag so far, or nil; its signatures are kept, and Blobs are only the new
// ones. A signature that is there already, by the same key and of the same words,
// is not made again: then the result is nil.
func SignSimple(key *PrivateKey, r Request, have []byte) (*Attachment, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	payload, err := makeSimple(r.claim())
	if err != nil {
		return nil, err
	}
	var layers []ocispec.Descriptor
	if have != nil {
		m, err := spec.ParseManifest(ocispec.MediaTypeImageManifest, have)
		if err != nil {
			return nil, fmt.Errorf("the signatures so far: %w", err)
		}
		layers = m.Layers
	}
	layer := describe(mediaTypeSimple, payload)
	for _, l := range layers {
		sig, err := base64.StdEncoding.DecodeString(l.Annotations[annotationSignature])
		if l.Digest == layer.Digest && err == nil && key.public.verifies(payload, sig) {
			return nil, nil
		}
	}
	sig, err := key.sign(payload)
	if err != nil {
		return nil, err
	}
	layer.Annotations = map[string]string{annotationSignature: base64.StdEncoding.EncodeToString(sig)}
	return simpleImage(append(slices.Clone(layers), layer), payload)
}

// simpleImage is the image under a .sig tag. Its config says as little as it may.
func simpleImage(layers []ocispec.Descriptor, payload []byte) (*Attachment, error) {
	image := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers"}}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.Digest) // payloads are not compressed
	}
	config, err := encode(image)
	if err != nil {
		return nil, err
	}
	m, err := encode(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: describe(ocispec.MediaTypeImageConfig, config), Layers: layers,
	})
	if err != nil {
		return nil, err
	}
	return &Attachment{Manifest: m, Blobs: [][]byte{config, payload}}, nil
}

func (r *Request) check() error {
	if err := spec.CheckDescriptor(r.Subject); err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	return nil
}

// Descriptor describes the manifest of the attachment.
func (a *Attachment) Descriptor() ocispec.Descriptor {
	return describe(ocispec.MediaTypeImageManifest, a.Manifest)
}

func describe(mediaType string, body []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
}

// HasBundle tells whether a manifest has a bundle already that is what
// [SignBundle] would make, by the same key and of the same words.
func HasBundle(ctx context.Context, r Reader, key *PublicKey, q Request) (bool, error) {
	p := &Policy{Keys: []*PublicKey{key}, Annotations: q.Annotations, SignedAs: []string{"*"}, Threshold: 1}
	v := &verification{
		policy: p, reader: r, repository: q.Repository, digest: q.Subject.Digest,
		evidence: &Evidence{}, problems: &UnverifiedError{},
	}
	if err := v.bundles(ctx); err != nil {
		return false, err
	}
	if !v.enough() {
		return false, v.failed
	}
	s := v.evidence.Signers[0]
	return s.Repository == q.Repository && maps.Equal(s.Annotations, q.Annotations), nil
}
