package blobmirror

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Mirror is a place that has blobs, and is believed in nothing: what it gives
// counts by its digest alone. Tags and manifests come from the registry, and no
// credentials are sent there. [Parse] makes one.
type Mirror struct {
	base  url.URL
	files bool // a directory of blobs, on any web server
}

// Parse reads the URL of a mirror, in one of two forms:
//
//	https://mirror.example/some/path          a registry below it: …/v2/NAME/blobs/DIGEST
//	https://mirror.example/some/path/blobs    plain files: …/blobs/ALGORITHM/HEX
//
// The second is what any web server gives of a copy of the tree of nbextract
// mirror, or of an OCI layout. What is neither is an error of usage.
func Parse(s string) (Mirror, error) {
	u, err := url.Parse(s)
	hint := "a mirror is written https://HOST[:PORT][/PATH], and ends in /blobs where it is a directory of blobs"
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return Mirror{}, bad(hint, "%q is no URL of a mirror", s)
	case u.User != nil:
		// Not quoted: it has a password, most likely.
		return Mirror{}, bad("mirrors are asked without credentials", "the URL of a mirror names a user")
	case u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return Mirror{}, bad(hint, "the URL %q of a mirror has more than a path", s)
	}
	path := strings.TrimRight(u.Path, "/")
	m := Mirror{base: url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host), Path: path}}
	m.files = path == "/blobs" || strings.HasSuffix(path, "/blobs")
	return m, nil
}

// String is the URL of the mirror, without a slash at its end.
func (m Mirror) String() string { return m.base.String() }

// Host is the "host[:port]" of the mirror.
func (m Mirror) Host() string { return m.base.Host }

// BlobURL is where the mirror has a blob of a repository, whose name is without
// its host. The digest must be a valid one.
func (m Mirror) BlobURL(repository string, d digest.Digest) *url.URL {
	if m.files {
		return m.base.JoinPath(d.Algorithm().String(), d.Encoded())
	}
	return m.base.JoinPath("v2", repository, "blobs", d.String())
}

// BlobTemplate is BlobURL for a program that fills in variables of its own: uri
// stands for /v2/NAME/blobs/DIGEST, file for ALGORITHM/HEX.
func (m Mirror) BlobTemplate(uri, file string) string {
	if m.files {
		return m.String() + "/" + file
	}
	return m.String() + uri
}

// usageError is a mirror that is written wrong: a mistake in usage.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }
func (e *usageError) ExitCode() int { return 2 }
func (e *usageError) Hint() string  { return e.hint }

func bad(hint, format string, a ...any) error {
	return &usageError{msg: fmt.Sprintf(format, a...), hint: hint}
}
