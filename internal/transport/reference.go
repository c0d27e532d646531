package transport

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker/reference"
)

// The transports that a [Reference] can name.
const (
	Docker     = "docker"
	OCI        = "oci"
	OCIArchive = "oci-archive"
	Dir        = "dir"
	// ContainersStorage is where podman and buildah keep the images of this
	// machine. Images are read from there, never written.
	ContainersStorage = "containers-storage"
)

// layoutName is the grammar of image names inside a layout, from the
// annotation rules of the OCI image specification (annotations.md,
// org.opencontainers.image.ref.name).
var layoutName = regexp.MustCompile(`^[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*$`)

// Reference names an image, or a place for one.
type Reference struct {
	// Transport is one of Docker, OCI, OCIArchive, Dir and ContainersStorage.
	Transport string
	// Name is "host[:port]/repository" for Docker; for ContainersStorage the
	// store in brackets, where one was given, and an image name or ID as the
	// user wrote it; else a file system path, likewise.
	Name string
	// Tag is the tag in a registry (never empty there unless Digest is set),
	// or the image name in a layout (may be empty). Always empty for Dir. In
	// container storage it is what the user wrote: without a tag, Name may be
	// an image ID.
	Tag string
	// Digest pins the content. It wins over Tag when reading; when writing,
	// the published manifest must have it.
	Digest digest.Digest
}

// refError is a reference that cannot be understood: a mistake in usage.
type refError struct{ msg, hint string }

func (e *refError) Error() string { return e.msg }
func (e *refError) ExitCode() int { return 2 }
func (e *refError) Hint() string  { return e.hint }

func badRef(hint, format string, a ...any) error {
	return &refError{msg: fmt.Sprintf(format, a...), hint: hint}
}

// ParseReference understands docker://HOST/REPO[:TAG][@DIGEST], the same
// without the prefix, oci://HOST/REPO… (another spelling of docker://),
// oci:DIR[:NAME], oci-archive:FILE[:NAME], dir:DIR and
// containers-storage:[STORE]NAME[:TAG][@DIGEST], or an image ID there.
//
// A path of oci: and oci-archive: ends at its first colon, as everywhere in
// the containers tools, so it cannot hold one itself; a path of dir: can. A
// NAME that ends in @DIGEST, or is only that, pins the content.
//
// Errors are usage errors (exit code 2). No registry is ever assumed: a name
// without a host is an error.
func ParseReference(s string) (Reference, error) {
	if s == "" {
		return Reference{}, badRef("", "empty image reference")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Reference{}, badRef("", "image reference %q has control characters", withoutUser(s))
	}
	for _, prefix := range []string{"docker://", "oci://"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			if prefix == "oci://" {
				// Ironic's documentation has an empty tag before a digest.
				rest = strings.Replace(rest, ":@", "@", 1)
			}
			return parseDocker(s, rest)
		}
	}
	scheme, rest, ok := strings.Cut(s, ":")
	if ok {
		switch scheme {
		case OCI, OCIArchive:
			return parseLayout(s, scheme, rest)
		case Dir:
			if rest == "" {
				return Reference{}, badRef("", "image reference %q names no directory", s)
			}
			return Reference{Transport: Dir, Name: rest}, nil
		case ContainersStorage:
			return parseStorage(s, rest)
		case Docker:
			return Reference{}, badRef("write docker://HOST/REPOSITORY:TAG", "image reference %q lacks \"//\"", withoutUser(s))
		case "docker-archive", "docker-daemon", "ostree", "sif", "atomic", "http", "https":
			return Reference{}, badRef("use docker://, oci:, oci-archive:, dir: or containers-storage:", "image reference %q: transport %q is not supported", withoutUser(s), scheme)
		}
	}
	return parseDocker(s, s)
}

// withoutUser takes out what a URL holds before its host, user and password: a
// reference is quoted in messages. Without a digest behind it, an @ is taken for the
// end of a password, which may have slashes.
func withoutUser(s string) string {
	from := 0
	if scheme, rest, ok := strings.Cut(s, ":"); ok && strings.HasPrefix(rest, "//") {
		from = len(scheme + "://")
	}
	name := s[from:]
	if i := strings.LastIndexByte(name, '@'); i >= 0 && digestAlgorithm(name[i+1:]) {
		name = name[:i]
	}
	i := strings.LastIndexByte(name, '@')
	if i < 0 {
		return s
	}
	return s[:from] + "…" + s[from+i:]
}

func digestAlgorithm(s string) bool {
	return strings.HasPrefix(s, "sha256:") || strings.HasPrefix(s, "sha384:") || strings.HasPrefix(s, "sha512:")
}

func parseDocker(whole, rest string) (Reference, error) {
	if shown := withoutUser(whole); shown != whole {
		return Reference{}, badRef("log in with --creds, or a credentials file; a digest is written @sha256:HEX", "image reference %q holds a user, where it would be recorded and shown", shown)
	}
	host, _, ok := strings.Cut(rest, "/")
	if !ok || !(strings.ContainsAny(host, ".:") || host == "localhost") {
		hint := "write HOST/REPOSITORY:TAG; no registry is assumed"
		if strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, ".") {
			hint = "a local layout is written oci:DIR"
		}
		return Reference{}, badRef(hint, "image reference %q has no registry host", whole)
	}
	named, err := reference.ParseNormalizedNamed(rest)
	if err != nil {
		return Reference{}, badRef(PatternAdvice(rest), "image reference %q: %v", whole, err)
	}
	ref := Reference{Transport: Docker, Name: named.Name()}
	if named.Name() != nameOf(rest) {
		// The library knows names of one registry that it would rewrite.
		return Reference{}, badRef("write the full repository name", "image reference %q is short for %q", whole, named.Name())
	}
	if t, ok := named.(reference.Tagged); ok {
		ref.Tag = t.Tag()
	}
	if d, ok := named.(reference.Digested); ok {
		ref.Digest = d.Digest()
	}
	if ref.Tag == "" && ref.Digest == "" {
		ref.Tag = "latest"
	}
	return ref, nil
}

// PatternAdvice is a hint for who wrote a pattern where one image is named, and
// empty for what is no pattern.
func PatternAdvice(reference string) string {
	if !strings.ContainsAny(reference, "*?[") {
		return ""
	}
	return "patterns are for nbextract mirror, and for the tags of a repository in a catalogue; name each image here"
}

// nameOf cuts tag and digest off a registry reference.
func nameOf(s string) string {
	s, _, _ = strings.Cut(s, "@")
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		s = s[:i]
	}
	return s
}

func parseLayout(whole, transport, rest string) (Reference, error) {
	path, name, _ := strings.Cut(rest, ":")
	ref := Reference{Transport: transport, Name: path}
	if path == "" {
		return ref, badRef("", "image reference %q names no path", whole)
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		if d, err := digest.Parse(name[i+1:]); err == nil {
			ref.Digest, name = d, name[:i]
		} else if i == 0 {
			return ref, badRef("name the image by its tag, or by @DIGEST", "image reference %q: %q is not a digest", whole, name[1:])
		}
	}
	if name != "" && !layoutName.MatchString(name) {
		hint := ""
		if strings.Contains(name, "/") {
			hint = "the path ends at its first colon; a path with a colon cannot be written here"
		}
		return ref, badRef(hint, "image reference %q: %q is not a valid image name", whole, name)
	}
	ref.Tag = name
	return ref, nil
}

// String gives the reference in the form that ParseReference reads back to
// the same value.
func (r Reference) String() string {
	suffix := ""
	if r.Tag != "" {
		suffix = ":" + r.Tag
	}
	switch r.Transport {
	case Docker, ContainersStorage:
		if r.Digest != "" {
			suffix += "@" + r.Digest.String()
		}
		prefix := r.Transport + ":"
		if r.Transport == Docker {
			prefix += "//"
		}
		return prefix + r.Name + suffix
	case Dir:
		return "dir:" + r.Name
	}
	if r.Digest != "" {
		if suffix == "" {
			suffix = ":"
		}
		suffix += "@" + r.Digest.String()
	}
	return r.Transport + ":" + r.Name + suffix
}

// IsLocal reports whether the reference is a path, and not a registry or the
// storage of podman.
func (r Reference) IsLocal() bool {
	return r.Transport != Docker && r.Transport != ContainersStorage
}

// Host gives the registry's "host[:port]", empty for local references.
func (r Reference) Host() string {
	if r.Transport != Docker {
		return ""
	}
	host, _, _ := strings.Cut(r.Name, "/")
	return host
}

// named gives the reference in the form of the containers/image library,
// digest first: a pinned reference is looked up by its digest alone.
func (r Reference) named() (reference.Named, error) {
	if r.Transport != Docker {
		return nil, errors.New("not a registry reference")
	}
	n, err := reference.ParseNormalizedNamed(r.Name)
	if err != nil {
		return nil, fmt.Errorf("parse repository name %q: %w", r.Name, err)
	}
	if r.Digest != "" {
		return reference.WithDigest(n, r.Digest)
	}
	return reference.WithTag(n, r.Tag)
}

// path gives the cleaned path of a local reference.
func (r Reference) path() string { return filepath.Clean(r.Name) }
