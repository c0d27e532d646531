package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
)

// claim is what a signature says: that its owner stands for this digest. Both
// forms of signatures come down to it.
type claim struct {
	digests     []digest.Digest   // of the subjects; a statement can have several
	repository  string            // where the image was when it was signed; may be empty
	annotations map[string]string // those whose values are text
}

// claimType is the predicate type of a signature by cosign. Other statements,
// about how an image was built for example, are no signatures, whoever made them.
const claimType = "https://sigstore.dev/cosign/sign/v1"

// statement is an in-toto statement (in-toto/attestation, statement.md).
type statement struct {
	Type          string          `json:"_type"`
	Subject       []subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate,omitempty"`
}

type subject struct {
	Name        string            `json:"name,omitempty"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]any    `json:"annotations,omitempty"`
}

const (
	statementType    = "https://in-toto.io/Statement/v1"
	statementTypeOld = "https://in-toto.io/Statement/v0.1"
)

// parseStatement reads the claim of a bundle about d. The annotations and the
// repository are those of the subject that has this digest.
func parseStatement(body []byte, d digest.Digest) (*claim, error) {
	var s statement
	if err := parse("statement", body, &s); err != nil {
		return nil, err
	}
	if s.Type != statementType && s.Type != statementTypeOld {
		return nil, fmt.Errorf("its statement is of type %q", s.Type)
	}
	if s.PredicateType != claimType {
		return nil, fmt.Errorf("it is a statement of type %q, not a signature", s.PredicateType)
	}
	c := &claim{}
	for _, sub := range s.Subject {
		for algorithm, hex := range sub.Digest {
			have := digest.Digest(algorithm + ":" + hex)
			c.digests = append(c.digests, have)
			if have == d {
				c.repository, c.annotations = sub.Name, texts(sub.Annotations)
			}
		}
	}
	if len(c.digests) == 0 {
		return nil, errors.New("its statement has no subject")
	}
	slices.Sort(c.digests)
	return c, nil
}

// texts keeps the annotations that can be compared.
func texts(all map[string]any) map[string]string {
	out := map[string]string{}
	for k, v := range all {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

// makeStatement says of one digest that it is signed.
func makeStatement(c claim) ([]byte, error) {
	d := c.digests[0]
	notes := map[string]any{}
	for k, v := range c.annotations {
		notes[k] = v
	}
	return encode(statement{
		Type: statementType, PredicateType: claimType, Predicate: json.RawMessage("{}"),
		Subject: []subject{{Name: c.repository, Digest: map[string]string{d.Algorithm().String(): d.Encoded()}, Annotations: notes}},
	})
}

// simpleType says that a payload is cosign's, not one of the older kind that
// OpenPGP signs.
const simpleType = "cosign container image signature"

// simplePayload is a payload of simple signing (containers/image,
// docs/containers-signature.5.md; cosign, specs/SIGNATURE_SPEC.md).
type simplePayload struct {
	Critical struct {
		Identity struct {
			DockerReference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			DockerManifestDigest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

// parseSimple reads the claim of a simple-signing payload.
func parseSimple(body []byte) (*claim, error) {
	var p simplePayload
	if err := parse("payload", body, &p); err != nil {
		return nil, err
	}
	if p.Critical.Type != simpleType {
		return nil, fmt.Errorf("its payload is of type %q", p.Critical.Type)
	}
	d, err := digest.Parse(p.Critical.Image.DockerManifestDigest)
	if err != nil {
		return nil, fmt.Errorf("its payload has the digest %q: %w", p.Critical.Image.DockerManifestDigest, err)
	}
	return &claim{digests: []digest.Digest{d}, repository: p.Critical.Identity.DockerReference, annotations: texts(p.Optional)}, nil
}

// makeSimple writes a claim as cosign does.
func makeSimple(c claim) ([]byte, error) {
	var p simplePayload
	p.Critical.Identity.DockerReference = c.repository
	p.Critical.Image.DockerManifestDigest = c.digests[0].String()
	p.Critical.Type = simpleType
	for k, v := range c.annotations {
		if p.Optional == nil {
			p.Optional = map[string]any{}
		}
		p.Optional[k] = v
	}
	return encode(p)
}

// encode writes JSON on one line, without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode a signature: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
