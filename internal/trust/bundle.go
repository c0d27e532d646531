package trust

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The media types of bundles. Readers take every version 0.x that has an
// envelope in the same place.
const (
	// MediaTypeBundle is the media type and artifact type of a sigstore bundle.
	MediaTypeBundle   = "application/vnd.dev.sigstore.bundle.v0.3+json"
	bundleTypePrefix  = "application/vnd.dev.sigstore.bundle"
	payloadTypeInToto = "application/vnd.in-toto+json"
)

// MaxBundleSize is how many bytes a bundle, or a simple-signing payload, may have.
const MaxBundleSize = 1 << 20

// bundle is a sigstore bundle (sigstore_bundle.proto of sigstore/protobuf-specs)
// as far as keys need it.
type bundle struct {
	MediaType            string               `json:"mediaType"`
	VerificationMaterial verificationMaterial `json:"verificationMaterial"`
	Envelope             *envelope            `json:"dsseEnvelope,omitempty"`
	MessageSignature     json.RawMessage      `json:"messageSignature,omitempty"`
}

type verificationMaterial struct {
	PublicKey   *publicKeyHint  `json:"publicKey,omitempty"`
	Certificate json.RawMessage `json:"certificate,omitempty"`
	Chain       json.RawMessage `json:"x509CertificateChain,omitempty"`
}

type publicKeyHint struct {
	Hint string `json:"hint,omitempty"`
}

// parseBundle reads a bundle and takes its envelope apart.
func parseBundle(body []byte) (*bundle, *signed, error) {
	if len(body) > MaxBundleSize {
		return nil, nil, fmt.Errorf("it has %d bytes, %d are permitted", len(body), MaxBundleSize)
	}
	var b bundle
	if err := parse("bundle", body, &b); err != nil {
		return nil, nil, err
	}
	if !strings.HasPrefix(b.MediaType, bundleTypePrefix) {
		return nil, nil, fmt.Errorf("its media type is %q, not that of a sigstore bundle", b.MediaType)
	}
	if b.Envelope == nil || b.MessageSignature != nil {
		return nil, nil, errors.New("it signs a file, not a statement about an image")
	}
	s, err := b.Envelope.open()
	return &b, s, err
}

// keyless tells whether the bundle names a certificate and no key.
func (b *bundle) keyless() bool {
	m := b.VerificationMaterial
	return m.PublicKey == nil && (m.Certificate != nil || m.Chain != nil)
}

// signBundle makes a bundle around a statement.
func signBundle(key *PrivateKey, statement []byte) ([]byte, error) {
	sig, err := key.sign(preAuth(payloadTypeInToto, statement))
	if err != nil {
		return nil, err
	}
	return encode(bundle{
		MediaType:            MediaTypeBundle,
		VerificationMaterial: verificationMaterial{PublicKey: &publicKeyHint{Hint: key.public.hint()}},
		Envelope: &envelope{
			Payload: base64.StdEncoding.EncodeToString(statement), PayloadType: payloadTypeInToto,
			Signatures: []envelopeSignature{{Sig: base64.StdEncoding.EncodeToString(sig)}},
		},
	})
}
