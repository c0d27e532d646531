package trust

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// bundle judges a referrer that holds one bundle.
func (v *verification) bundle(ctx context.Context, d ocispec.Descriptor, m *ocispec.Manifest) error {
	if m.Subject == nil || m.Subject.Digest != v.digest {
		return errors.New("a referrer of something else")
	}
	if len(m.Layers) != 1 || !strings.HasPrefix(m.Layers[0].MediaType, bundleTypePrefix) {
		return errors.New("a referrer that is no bundle")
	}
	body, err := v.read(ctx, m.Layers[0])
	if err != nil {
		return err
	}
	b, s, err := parseBundle(body)
	if err != nil {
		return fmt.Errorf("a bundle that cannot be used: %w", err)
	}
	signer := Signer{Form: FormBundle, Attachment: d.Digest}
	if err = v.byKey(s, &signer); err != nil && b.keyless() {
		err = v.policy.certified(body, s, v.digest, &signer)
	}
	if err != nil {
		return fmt.Errorf("a bundle: %w", err)
	}
	// From here on the payload is what the signer signed.
	c, err := parseStatement(s.payload, v.digest)
	if err == nil {
		err = v.count(c, signer)
	}
	if err != nil {
		return fmt.Errorf("a bundle: %w", err)
	}
	return nil
}

// simpleImage judges each layer of a .sig image by itself.
func (v *verification) simpleImage(ctx context.Context, d ocispec.Descriptor, m *ocispec.Manifest) error {
	for i, layer := range m.Layers {
		if v.enough() {
			return nil
		}
		if i == MaxAttachments {
			v.problems.More += len(m.Layers) - i
			return nil
		}
		if err := v.blame(ctx, v.simpleLayer(ctx, d, layer)); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) simpleLayer(ctx context.Context, d, layer ocispec.Descriptor) error {
	if layer.MediaType != mediaTypeSimple {
		return fmt.Errorf("a layer of type %q under the .sig tag", layer.MediaType)
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(layer.Annotations[annotationSignature])
	if err != nil || len(sig) == 0 {
		return errors.New("a payload without a signature")
	}
	body, err := v.read(ctx, layer)
	if err != nil {
		return err
	}
	signer := Signer{Form: FormSimple, Attachment: d.Digest}
	s := &signed{message: body, payload: body, signature: sig}
	if err := v.byKey(s, &signer); err != nil {
		return fmt.Errorf("a .sig signature: %w", err)
	}
	c, err := parseSimple(s.payload)
	if err == nil {
		err = v.count(c, signer)
	}
	if err != nil {
		return fmt.Errorf("a .sig signature: %w", err)
	}
	return nil
}

// byKey finds the key of the policy that made a signature.
func (v *verification) byKey(s *signed, signer *Signer) error {
	for _, k := range v.policy.keys() {
		if k.verifies(s.message, s.signature) {
			signer.Key = k.ID()
			return nil
		}
	}
	return errNoKey
}

// count adds a signature that is authentic, if it says what is demanded.
func (v *verification) count(c *claim, signer Signer) error {
	if signer.Key == "" && signer.Identity == "" {
		return errNoKey
	}
	if !slices.Contains(c.digests, v.digest) {
		return fmt.Errorf("it is of %s, another image", c.digests[0])
	}
	if err := v.policy.accepts(c, v.repository); err != nil {
		return err
	}
	signer.Repository, signer.Annotations = c.repository, c.annotations
	if slices.ContainsFunc(v.evidence.Signers, func(o Signer) bool { return o.id() == signer.id() }) {
		return nil // a second signature of the same signer is worth nothing
	}
	v.evidence.Signers = append(v.evidence.Signers, signer)
	return nil
}
