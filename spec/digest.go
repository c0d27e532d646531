package spec

import (
	// The hashes must be linked in, or go-digest calls their digests invalid.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ParseDigest gives the digest, or refuses what is not the lower-case form of a
// sha256, sha384 or sha512 digest. A digest becomes part of file names and
// URLs, so nobody uses one that did not pass here.
func ParseDigest(s string) (digest.Digest, error) {
	d := digest.Digest(s)
	if err := d.Validate(); err != nil {
		return "", Refuse(RuleDigestSyntax, "", "%q is not a digest: %w", s, err)
	}
	switch d.Algorithm() {
	case digest.SHA256, digest.SHA384, digest.SHA512:
		return d, nil
	}
	return "", Refuse(RuleDigestSyntax, "", "digest %q has an algorithm other than sha256, sha384 and sha512", s)
}

// CheckDescriptor refuses a descriptor with a bad digest, a negative size or
// something else than a media type.
func CheckDescriptor(d ocispec.Descriptor) error {
	if _, err := ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	if d.Size < 0 {
		return Refuse(RuleDescriptor, "", "descriptor %s has the negative size %d", d.Digest, d.Size)
	}
	if !mediaTypePattern().MatchString(d.MediaType) {
		return Refuse(RuleDescriptor, "", "descriptor %s has the bad media type %q", d.Digest, d.MediaType)
	}
	return nil
}
