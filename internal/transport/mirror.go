package transport

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Mirror is a place that has blobs, and is believed in nothing: what it gives
// counts by its digest alone. Tags and manifests come from the registry, and no
// credentials are sent there. [ParseMirror] makes one.
type Mirror struct {
	base  url.URL
	files bool // a directory of blobs, on any web server
}

// ParseMirror reads the URL of a mirror, in one of two forms:
//
//	https://mirror.example/some/path          a registry below it: …/v2/NAME/blobs/DIGEST
//	https://mirror.example/some/path/blobs    plain files: …/blobs/ALGORITHM/HEX
//
// The second is what any web server gives of a copy of the tree of nbextract
// mirror, or of an OCI layout.
func ParseMirror(s string) (Mirror, error) {
	u, err := url.Parse(s)
	hint := "a mirror is written https://HOST[:PORT][/PATH], and ends in /blobs where it is a directory of blobs"
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return Mirror{}, badRef(hint, "%q is no URL of a mirror", s)
	case u.User != nil:
		// Not quoted: it has a password, most likely.
		return Mirror{}, badRef("mirrors are asked without credentials", "the URL of a mirror names a user")
	case u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return Mirror{}, badRef(hint, "the URL %q of a mirror has more than a path", s)
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

// mirrorSet is what a client was told of mirrors.
type mirrorSet struct {
	all  []Mirror            // of every registry
	some map[string][]Mirror // by the beginning of the repository's name, as Options.Mirrors
}

// parseMirrors reads the URLs among the options.
func (o Options) parseMirrors() (mirrorSet, error) {
	set := mirrorSet{some: map[string][]Mirror{}}
	for _, s := range o.BlobMirrors {
		m, err := ParseMirror(s)
		if err != nil {
			return set, err
		}
		set.all = append(set.all, m)
	}
	for prefix, mirrors := range o.Mirrors {
		for _, s := range mirrors {
			if !strings.Contains(s, "://") {
				continue // as a registry
			}
			m, err := ParseMirror(s)
			if err != nil {
				return set, fmt.Errorf("mirrors of %q: %w", prefix, err)
			}
			set.some[prefix] = append(set.some[prefix], m)
		}
	}
	return set, nil
}

// of lists the mirrors that have the blobs of a repository, each once.
func (m mirrorSet) of(name, prefix string) []Mirror {
	var out []Mirror
	seen := map[Mirror]bool{}
	for _, list := range [][]Mirror{m.all, m.some[prefix]} {
		for _, one := range list {
			if !seen[one] {
				seen[one] = true
				out = append(out, one)
			}
		}
	}
	return out
}

// hosts lists those of all mirrors.
func (m mirrorSet) hosts() []string {
	var out []string
	for _, one := range m.all {
		out = append(out, one.Host())
	}
	for _, list := range m.some {
		for _, one := range list {
			out = append(out, one.Host())
		}
	}
	return out
}
