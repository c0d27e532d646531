package mirrortree

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
)

func TestPaths(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 4)
	d := digest.Digest("sha256:" + hex)
	for got, want := range map[string]string{
		Blob(d):                          "blobs/sha256/" + hex,
		Manifest("a/b", d, DockerList):   "v2/a/b/manifests/sha256:" + hex + "/m.docker-list",
		Tag("a/b", "v1"):                 "v2/a/b/_tags/v1",
		TagTarget(d):                     "../manifests/sha256:" + hex,
		TagList("a/b"):                   "v2/a/b/tags/list",
		Referrers("a/b", d):              "v2/a/b/referrers/sha256:" + hex,
		Repository("a/b") + "/x":         "v2/a/b/x",
		ReferrersDir("a") + "/x":         "v2/a/referrers/x",
		Manifests("a") + "/" + string(d): ManifestDir("a", d),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if back, err := TagDigest(TagTarget(d)); err != nil || back != d {
		t.Errorf("TagDigest: %q, %v", back, err)
	}
	for _, bad := range []string{"", "manifests/" + string(d), "../manifests/", "../manifests/sha256:12", "../manifests/" + string(d) + "/..", "/etc/passwd"} {
		if back, err := TagDigest(bad); err == nil {
			t.Errorf("TagDigest(%q) gives %q", bad, back)
		}
	}
}

func TestKinds(t *testing.T) {
	for _, k := range Kinds() {
		if back, ok := KindOf(k.MediaType()); !ok || back != k {
			t.Errorf("KindOf(%q) gives %q", k.MediaType(), back)
		}
	}
	if k, ok := KindOf("text/plain"); ok {
		t.Errorf("text/plain is %q", k)
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "a/b", "netboot/fedora-42", "tags", "a/tags", "a/ping", "a/manifests", "a__b"} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "/", "a/", "A", "a/../b", "a//b", "_tags", "a/_tags", "ping", "ping/x", "tags/list", "a/tags/list", "a/tags/list/b", "a:b", strings.Repeat("a", 256)} {
		if err := CheckName(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestRepositories(t *testing.T) {
	hex := "sha256:" + strings.Repeat("00", 32)
	tree := fstest.MapFS{
		"v2/ping":                            {},
		"v2/a/_tags/v":                       {},
		"v2/a/manifests/" + hex + "/_tags/x": {},
		"v2/a/manifests/_tags/x":             {},
		"v2/b/c/_tags/.keep":                 {},
		"v2/b/c/tags/list":                   {},
		"v2/NO/_tags/v":                      {},
		"blobs/sha256/_tags/v":               {},
	}
	got, err := Repositories(tree)
	if want := []string{"a", "a/manifests", "b/c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if got, err := Repositories(fstest.MapFS{}); err != nil || got != nil {
		t.Errorf("an empty tree: %q, %v", got, err)
	}
}

// A link that is accepted leads to a manifest of its repository.
func FuzzTagDigest(f *testing.F) {
	f.Add("../manifests/sha256:" + strings.Repeat("0", 64))
	f.Add("../manifests/sha512:" + strings.Repeat("0", 128))
	f.Add("../../../etc/passwd")
	f.Fuzz(func(t *testing.T, target string) {
		d, err := TagDigest(target)
		if err == nil && (TagTarget(d) != target || strings.Count(target, "/") != 2) {
			t.Errorf("%q is the tag of %q", target, d)
		}
	})
}
