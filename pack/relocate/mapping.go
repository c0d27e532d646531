package relocate

import (
	"crypto/md5" //nolint:gosec // the mapping that others have, too, is defined with it
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"go.podman.io/image/v5/docker/reference"
)

// maxName is how long a repository name may be, host included (the grammar of
// references of docker/distribution).
const maxName = 255

// Suffix is the hash at the end of new names.
type Suffix string

// The two suffixes.
const (
	// MD5 is the one of image-relocation, and so of duffle.
	MD5 Suffix = "md5"
	// SHA256 keeps two names apart also when somebody chose them to collide.
	SHA256 Suffix = "sha256"
)

// Suffixes lists the values of [Suffix].
func Suffixes() []string { return []string{string(MD5), string(SHA256)} }

// Mapping gives repositories their new names: below one prefix, the path of the
// old name with "-" between its elements, for people, and a hash of the whole old
// name, so that no two of them become one. It is the mapping of the program
// image-relocation. One repository becomes one repository.
type Mapping struct {
	prefix string
	sum    func(name string) string // hexadecimal
}

// NewMapping makes a mapping to names below prefix, HOST[:PORT][/PATH].
// Errors are usage errors.
func NewMapping(prefix string, s Suffix) (*Mapping, error) {
	m := &Mapping{prefix: prefix}
	switch s {
	case MD5:
		m.sum = func(name string) string { h := md5.Sum([]byte(name)); return hex.EncodeToString(h[:]) } //nolint:gosec // see above
	case SHA256:
		m.sum = func(name string) string { h := sha256.Sum256([]byte(name)); return hex.EncodeToString(h[:]) }
	default:
		return nil, usage("", "suffix %q is neither md5 nor sha256", s)
	}
	const hint = "write it as in registry.example/mirror, without a tag and without a slash at the end"
	host, _, _ := strings.Cut(prefix, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		// The library would take it for a path in its default registry.
		return nil, usage(hint, "prefix %q has no registry host", prefix)
	}
	// Nothing fits behind a long prefix; one that is too long fails for every name.
	below := prefix + "/x"
	if len(below) > maxName {
		return nil, usage("", "prefix of %d bytes leaves no room for names of at most %d", len(prefix), maxName)
	}
	named, err := reference.ParseNormalizedNamed(below)
	if err != nil || named.Name() != below || !reference.IsNameOnly(named) {
		return nil, usage(hint, "prefix %q is not the beginning of a repository name", prefix)
	}
	return m, nil
}

// Host is the registry that the new names are in.
func (m *Mapping) Host() string {
	host, _, _ := strings.Cut(m.prefix, "/")
	return host
}

// Repository gives the new name of the repository that an image is in. The error
// is one of usage: the prefix leaves no room for it.
func (m *Mapping) Repository(i Image) (string, error) {
	sum := m.sum(i.named.Name())
	name := m.prefix + "/" + sum
	if s := m.readable(reference.Path(i.named), len(sum)); s != "" {
		name = m.prefix + "/" + s + "-" + sum
	}
	if len(name) > maxName {
		return "", usage("a shorter --prefix", "new name %q of %q is longer than %d bytes", name, i.Original, maxName)
	}
	if named, err := reference.ParseNormalizedNamed(name); err != nil || named.Name() != name {
		return "", usage("", "new name %q of %q is not a repository name", name, i.Original)
	}
	return name, nil
}

// readable gives as much of a path as there is room for. Elements go from its end,
// but for the last one, and "---" stands for them; then only the last one is
// taken, then only the first, then nothing.
func (m *Mapping) readable(path string, sum int) string {
	room := maxName - len(m.prefix) - len("/") - len("-") - sum
	elements := strings.Split(path, "/")
	last := elements[len(elements)-1]
	for n := len(elements); n >= 1; n-- {
		s := last
		switch {
		case n == len(elements):
			s = strings.Join(elements, "-")
		case n > 1:
			s = strings.Join(elements[:n-1], "-") + "---" + last
		}
		if len(s) <= room {
			return s
		}
	}
	if len(elements[0]) <= room {
		return elements[0]
	}
	return ""
}
