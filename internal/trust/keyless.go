package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	sigbundle "github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// maxRoot bounds a file of trusted roots, in bytes.
const maxRoot = 4 << 20

// Root holds the certificate authorities and logs of a sigstore instance. It comes
// from a file, and is never fetched: a server that boots others decides at one
// moment, with its admin, whom it trusts.
type Root struct {
	material root.TrustedMaterial
	ctLogs   bool
	id       string
}

// ReadRoot reads a trusted root as sigstore publishes it (trusted_root.json). One
// without a transparency log is refused: a certificate that is valid for minutes
// says nothing unless somebody noted when it was used.
func ReadRoot(file string) (*Root, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read trusted root: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRoot+1))
	if err != nil {
		return nil, fmt.Errorf("read trusted root: %w", err)
	}
	r, err := ParseRoot(text)
	if err != nil {
		return nil, &RootError{File: file, Err: err}
	}
	return r, nil
}

// ParseRoot reads the text of a trusted root.
func ParseRoot(text []byte) (*Root, error) {
	if len(text) > maxRoot {
		return nil, fmt.Errorf("more than %d bytes", maxRoot)
	}
	material, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return nil, err
	}
	if len(material.FulcioCertificateAuthorities()) == 0 || len(material.RekorLogs()) == 0 {
		return nil, errors.New("it has no certificate authority, or no transparency log")
	}
	sum := sha256.Sum256(text)
	return &Root{material: material, ctLogs: len(material.CTLogs()) > 0, id: "sha256:" + hex.EncodeToString(sum[:])}, nil
}

// RootError is a file that is no trusted root.
type RootError struct {
	File string
	Err  error
}

// Error names the file.
func (e *RootError) Error() string { return fmt.Sprintf("trusted root %q: %v", e.File, e.Err) }

// Unwrap gives the cause.
func (e *RootError) Unwrap() error { return e.Err }

// ExitCode is 2: it was the wrong file to name.
func (e *RootError) ExitCode() int { return 2 }

// errNoIdentity is for signatures that nobody was named for.
var errNoIdentity = errors.New("it was made with a certificate, and none of the keys verifies it")

// certified verifies a bundle by its certificate: that an authority of the root
// gave it to one of the identities, that the signature is by its key, that a log
// has it, and that the certificate was valid then. s is what was read of the
// same bytes.
func (p *Policy) certified(body []byte, s *signed, d digest.Digest, signer *Signer) error {
	if len(p.Identities) == 0 || p.Root == nil {
		return errNoIdentity
	}
	var b sigbundle.Bundle
	if err := b.UnmarshalJSON(body); err != nil {
		return fmt.Errorf("its certificate or log entry cannot be read: %w", err)
	}
	if err := sameContent(&b, s); err != nil {
		return err
	}
	options := []verify.VerifierOption{verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1)}
	if p.Root.ctLogs {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	verifier, err := verify.NewVerifier(p.Root.material, options...)
	if err != nil {
		return fmt.Errorf("verify a certificate: %w", err)
	}
	var identities []verify.PolicyOption
	for _, i := range p.Identities {
		identity, err := verify.NewShortCertificateIdentity(i.Issuer, "", i.Subject, "")
		if err != nil {
			return fmt.Errorf("identity %s: %w", i, err)
		}
		identities = append(identities, verify.WithCertificateIdentity(identity))
	}
	raw, err := hex.DecodeString(d.Encoded())
	if err != nil {
		return fmt.Errorf("digest %s: %w", d, err)
	}
	result, err := verifier.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest(d.Algorithm().String(), raw), identities...))
	if err != nil {
		return fmt.Errorf("its certificate does not count: %w", err)
	}
	if result.Signature == nil || result.Signature.Certificate == nil || result.VerifiedIdentity == nil {
		return errors.New("its certificate was not verified")
	}
	signer.Identity = result.Signature.Certificate.SubjectAlternativeName
	signer.Issuer = result.Signature.Certificate.Issuer
	return nil
}

// sameContent makes sure that the library verifies what was read here. There
// are two parsers, and nothing may look different to them.
func sameContent(b *sigbundle.Bundle, s *signed) error {
	envelope, err := b.Envelope()
	if err != nil {
		return fmt.Errorf("its envelope: %w", err)
	}
	raw := envelope.RawEnvelope()
	payload, err := raw.DecodeB64Payload()
	if err != nil || raw.PayloadType != payloadTypeInToto || !bytes.Equal(payload, s.payload) || !bytes.Equal(envelope.Signature(), s.signature) {
		return errors.New("its envelope can be read in two ways")
	}
	return nil
}
