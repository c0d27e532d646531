package relocate

import (
	"fmt"
	"strings"

	"go.podman.io/image/v5/docker/reference"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// usageError is a name or list that cannot be used: exit code 2.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

func usage(hint, format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...), hint}
}

// Image is one image to relocate.
type Image struct {
	// Original is its reference as the user or a bundle wrote it.
	Original string
	// Want is a digest that the image must have; may be empty.
	Want digest.Digest

	named reference.Named
}

// ParseImage reads a reference the way that docker has made usual, and that the
// mapping is defined for: a name without a registry is completed with the default
// one of the library. "docker://" or "oci://" before it change nothing.
// Errors are usage errors.
func ParseImage(s string) (Image, error) {
	named, err := parseNamed(strings.TrimPrefix(strings.TrimPrefix(s, "docker://"), "oci://"))
	if err != nil {
		return Image{}, usage(transport.PatternAdvice(s), "image reference %q: %v", withoutUser(s), err)
	}
	if d := digestOf(named); d != "" {
		if _, err := spec.ParseDigest(d.String()); err != nil {
			return Image{}, usage("", "image reference %q: %v", s, err)
		}
	}
	return Image{Original: s, named: named}, nil
}

// withoutUser takes the password out of what somebody wrote as in a URL.
func withoutUser(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 && strings.Contains(s[i:], "/") {
		return "…" + s[i:]
	}
	return s
}

// parseNamed is the library with a better message for nothing at all.
func parseNamed(s string) (reference.Named, error) {
	if s == "" {
		return nil, fmt.Errorf("it is empty")
	}
	return reference.ParseNormalizedNamed(s)
}

func digestOf(n reference.Named) digest.Digest {
	if d, ok := n.(reference.Digested); ok {
		return d.Digest()
	}
	return ""
}

func tagOf(n reference.Named) string {
	if t, ok := n.(reference.Tagged); ok {
		return t.Tag()
	}
	return ""
}

// Reference gives the full reference, for reading. Without tag and digest the tag
// is "latest".
func (i Image) Reference() transport.Reference {
	return transport.Reference{Transport: transport.Docker, Name: i.named.Name(), Tag: i.tag(), Digest: digestOf(i.named)}
}

// tag is the tag that the image has in its repository, "" if it is known by its
// digest alone.
func (i Image) tag() string {
	if t := tagOf(i.named); t != "" || digestOf(i.named) != "" {
		return t
	}
	return "latest"
}

// suffix is what follows the name, as the user wrote it: ":TAG", "@DIGEST", both
// or nothing.
func suffix(n reference.Named) string {
	s := ""
	if t := tagOf(n); t != "" {
		s = ":" + t
	}
	if d := digestOf(n); d != "" {
		s += "@" + d.String()
	}
	return s
}
