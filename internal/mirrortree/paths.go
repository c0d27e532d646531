package mirrortree

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/spec"
)

// Paths below the top of a tree, slash-separated like all that this package gives.
const (
	Ping       = "v2/ping"
	EmptyIndex = "empty-index.json"
	TagMap     = "tags.map"
	Boot       = "boot"
	State      = ".nbextract"
	Blobs      = "blobs"
	V2         = "v2"
)

// tagsName is the directory of tags in a repository. No part of a repository's
// name begins with "_".
const tagsName = "_tags"

// Blob gives the path of a blob or manifest.
func Blob(d digest.Digest) string {
	return path.Join(Blobs, d.Algorithm().String(), d.Encoded())
}

// Repository gives the directory of a repository, whose name passed [CheckName].
func Repository(name string) string { return path.Join(V2, name) }

// Manifests gives the directory whose entries are the manifests of a repository,
// each a directory by the name of its digest.
func Manifests(name string) string { return path.Join(V2, name, "manifests") }

// ManifestDir gives the directory of one manifest. It holds one file.
func ManifestDir(name string, d digest.Digest) string {
	return path.Join(Manifests(name), d.String())
}

// Manifest gives the path of a manifest of a kind.
func Manifest(name string, d digest.Digest, k Kind) string {
	return path.Join(ManifestDir(name, d), k.File())
}

// Tags gives the directory of a repository's tags.
func Tags(name string) string { return path.Join(V2, name, tagsName) }

// Tag gives the path of the symbolic link of a tag.
func Tag(name, tag string) string { return path.Join(Tags(name), tag) }

// TagTarget gives what the link of a tag holds.
func TagTarget(d digest.Digest) string { return "../manifests/" + d.String() }

// TagDigest gives the digest that the link of a tag leads to. What TagTarget did
// not make is an error.
func TagDigest(target string) (digest.Digest, error) {
	s, ok := strings.CutPrefix(target, "../manifests/")
	if !ok {
		return "", fmt.Errorf("link to %q is not that of a tag", target)
	}
	return spec.ParseDigest(s)
}

// TagList gives the path of the list of a repository's tags.
func TagList(name string) string { return path.Join(V2, name, "tags/list") }

// ReferrersDir gives the directory of a repository's lists of referrers.
func ReferrersDir(name string) string { return path.Join(V2, name, "referrers") }

// Referrers gives the path of the list of what refers to a manifest.
func Referrers(name string, d digest.Digest) string {
	return path.Join(ReferrersDir(name), d.String())
}
