package pack

import (
	"context"
	"errors"
	"fmt"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/trust"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The media types of what Attach attaches, which are artifact types as well.
const (
	MediaTypeStatement = "application/vnd.in-toto+json"
	MediaTypeSBOM      = "application/spdx+json"
)

// annotationPredicate is where buildkit says what a statement is about.
const annotationPredicate = "in-toto.io/predicate-type"

// AttachOptions say what Attach attaches.
type AttachOptions struct {
	// Provenance says how an image was built, SBOM lists its files.
	Provenance, SBOM bool
	// Tool is the version of the program.
	Tool string
}

// Attached is a manifest that refers to one that was built.
type Attached struct {
	Digest       digest.Digest `json:"digest"`
	ArtifactType string        `json:"artifactType"`
	Subject      digest.Digest `json:"subject"`
}

// CheckAttach refuses places for images that have no place for what refers to
// them.
func CheckAttach(dst transport.Reference) error {
	if dst.Transport != transport.Docker && dst.Transport != transport.OCI {
		return badOption("write to a registry or to a layout (oci:DIR:NAME)", "there is no place for provenance or lists of files in %q", dst)
	}
	return nil
}

// Attach adds to what BuildAll published of plans, which had Options.Describe and
// are not closed. Doing it again changes nothing: what is attached depends on the
// same as what it is attached to, and on the version of the program.
func Attach(ctx context.Context, client *transport.Client, plans []*Plan, dst transport.Reference, results []Result, o AttachOptions) (done []Attached, err error) {
	repo, err := client.Repository(ctx, dst)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()
	for _, p := range plans {
		for _, m := range p.manifests() {
			some, err := p.attach(ctx, repo, m, results[0], o)
			if err != nil {
				return done, fmt.Errorf("attaching to %s: %w", results[0].Digest, err)
			}
			done, results = append(done, some...), results[1:]
		}
	}
	return done, nil
}

func (p *Plan) attach(ctx context.Context, repo *transport.Repository, m planned, r Result, o AttachOptions) ([]Attached, error) {
	var done []Attached
	put := func(mediaType, predicate string, doc any, err error) error {
		if err != nil {
			return err
		}
		a, err := newReferrer(r.Descriptor(), mediaType, predicate, doc)
		if err != nil {
			return err
		}
		if err := repo.PutReferrer(ctx, newAttached(a), a.Descriptor()); err != nil {
			return err
		}
		done = append(done, Attached{a.Descriptor().Digest, mediaType, r.Digest})
		return nil
	}
	if o.Provenance {
		doc, err := p.statement(r.Digest, m.title, o.Tool)
		if err := put(MediaTypeStatement, provenanceType, doc, err); err != nil {
			return done, err
		}
	}
	if o.SBOM {
		doc, err := p.sbom(m, r.Digest, o.Tool)
		if err := put(MediaTypeSBOM, "", doc, err); err != nil {
			return done, err
		}
	}
	return done, nil
}

// newReferrer makes a manifest that holds one document about another manifest.
func newReferrer(subject ocispec.Descriptor, mediaType, predicate string, doc any) (*trust.Attachment, error) {
	body, err := encode(doc)
	if err != nil {
		return nil, err
	}
	if len(body) > maxDocument(mediaType) {
		return nil, refuse(spec.RuleDocumentSize, "", "", "the document would have %d bytes, %d are permitted", len(body), maxDocument(mediaType))
	}
	layer := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: mediaType,
		Config:  ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromString(emptyConfig), Size: int64(len(emptyConfig))},
		Subject: &ocispec.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	}
	if predicate != "" {
		layer.Annotations = map[string]string{annotationPredicate: predicate}
		m.Annotations = map[string]string{annotationPredicate: predicate}
	}
	m.Layers = []ocispec.Descriptor{layer}
	raw, err := encode(m)
	if err != nil {
		return nil, err
	}
	return &trust.Attachment{Manifest: raw, Blobs: [][]byte{[]byte(emptyConfig), body}}, nil
}

// maxDocument bounds what is attached, and what is read of it. A list of files has
// four hundred bytes and a path for each of them.
func maxDocument(mediaType string) int {
	if mediaType == MediaTypeSBOM {
		return 96 << 20
	}
	return spec.MaxManifestSize
}
