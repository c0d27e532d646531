package transport

import (
	"regexp"
	"sync"

	"github.com/opencontainers/go-digest"
)

// tagHex is how much of a digest stands in a tag: tags have at most 128 characters
// (distribution specification, "Referrers Tag Schema").
const tagHex = 64

// attachmentName is the grammar of the tags of what is attached to manifests, in
// registries and in layouts. Some write longer digests as a whole, where that is
// possible. With the longest suffix a tag has 128 characters.
var attachmentName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(sha256-[0-9a-f]{64}|sha384-[0-9a-f]{64}(?:[0-9a-f]{32})?|sha512-[0-9a-f]{64}(?:[0-9a-f]{64})?)(?:\.([A-Za-z0-9._-]{1,56}))?$`)
})

// AttachmentTag is the tag of what is attached to a manifest: ALGORITHM-HEX for the
// list of what refers to it, where a registry has no API for that, and with a suffix
// ALGORITHM-HEX.SUFFIX, as cosign began it. HEX are the first 64 digits of the digest.
func AttachmentTag(subject digest.Digest, suffix string) string {
	hex := subject.Encoded()
	tag := subject.Algorithm().String() + "-" + hex[:min(len(hex), tagHex)]
	if suffix != "" {
		tag += "." + suffix
	}
	return tag
}

// AttachedTo reads such a tag. list is the AttachmentTag without a suffix, which
// tells to which manifest it belongs.
func AttachedTo(tag string) (list, suffix string, ok bool) {
	m := attachmentName().FindStringSubmatch(tag)
	if m == nil {
		return "", "", false
	}
	return m[1][:len("sha256-")+tagHex], m[2], true
}

// IsAttachment tells whether a tag is one of what is attached to manifests.
func IsAttachment(tag string) bool {
	_, _, ok := AttachedTo(tag)
	return ok
}
