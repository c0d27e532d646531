package mirror

import (
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
)

func TestParseReference(t *testing.T) {
	for in, want := range map[string]string{
		"registry.example/a:v":            "docker://registry.example/a:v",
		"registry.example/a":              "docker://registry.example/a:latest",
		"registry.example/a:*":            "docker://registry.example/a:*",
		"registry.example:5000/a/b:v[12]": "docker://registry.example:5000/a/b:v[12]",
		"docker://registry.example/a:v?":  "docker://registry.example/a:v?",
		"oci:dir:name":                    "oci:dir:name",
	} {
		got, err := ParseReference(in)
		if err != nil || got.String() != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
		if pattern := strings.ContainsAny(in, "*?["); pattern != (got.Pattern != "") || pattern && got.Tag != "" {
			t.Errorf("%q: %+v", in, got)
		}
	}
	for _, bad := range []string{"", "a", "registry.example/a:[", "oci:dir:*", "registry.example/*:v", "registry.example/a:v*@sha256:" + strings.Repeat("0", 64)} {
		if got, err := ParseReference(bad); err == nil || exitCode(err) != 2 {
			t.Errorf("%q: %+v, %v", bad, got, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	hex := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		refs, repository, want, err string
	}{
		{"registry.example/os/netboot:v", "", "os/netboot:v", ""},
		{"registry.example/os/netboot:v", "other", "other:v", ""},
		{"registry.example/a@" + hex, "", "a@" + hex, ""},
		{"registry.example/a:v registry.example/a:v registry.example/a:w", "", "a:v a:w", ""},
		{"oci:bundle:registry.example/os/netboot:v", "", "os/netboot:v", ""},
		{"oci:bundle:registry.example:5000/a:v", "b", "b:v", ""},
		{"oci:dir:v", "a", "a:v", ""},
		{"oci:dir:v", "", "", "names no repository"},
		{"oci:dir", "a", "", "names no tag"},
		{"dir:x", "a", "", "names no tag"},
		{"registry.example/ping:v", "", "", "no place"},
		{"registry.example/a:v", "A", "", "not the name"},
		{"registry.example/a:v registry2.example/a:w", "", "", "would be one repository"},
		{"registry.example/a:v registry2.example/a:w", "a", "a:v a:w", ""},
		{"registry.example/a:v registry2.example/b:v", "a", "", "would both be"},
		{"registry.example/a:v registry.example/a:v@" + hex, "", "", "would both be"},
	} {
		var refs []transport.Reference
		for _, s := range strings.Fields(c.refs) {
			ref, err := transport.ParseReference(s)
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		items, err := places(refs, c.repository)
		var got []string
		for _, it := range items {
			got = append(got, it.String())
		}
		if s := strings.Join(got, " "); s != c.want || (err == nil) != (c.err == "") {
			t.Errorf("%q into %q: %q, %v", c.refs, c.repository, s, err)
		}
		if err != nil && (exitCode(err) != 2 || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%q into %q: %v, want %q", c.refs, c.repository, err, c.err)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, kind := range ConfigKinds() {
		text, err := Config(kind, "/srv/mirror")
		if err != nil || !strings.Contains(text, "/srv/mirror") || strings.Contains(text, "@DIR@") || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s: %v", kind, err)
		}
		for _, bad := range []string{"/srv/$x", `/srv/"`, "/srv/{", "/a\nb", "/a`b", `/a\b`} {
			if _, err := Config(kind, bad); exitCode(err) != 2 {
				t.Errorf("%s for %q: %v", kind, bad, err)
			}
		}
	}
	if _, err := Config("iis", "/srv/mirror"); exitCode(err) != 2 {
		t.Errorf("iis: %v", err)
	}
}

// What is accepted reads back the same, and has a place inside the tree or none.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"registry.example/a:v*", "registry.example/a/b@sha256:" + strings.Repeat("0", 64), "oci:x:registry.example/a:v", "docker://registry.example:1/a:[a-z]", "dir:../.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		if back, err := ParseReference(r.String()); err != nil || back != r {
			t.Errorf("%q: %+v became %+v, %v", s, r, back, err)
		}
		it, err := place(r.Reference, "")
		if r.Pattern != "" || err != nil {
			return
		}
		for _, p := range []string{mirrortree.Tag(it.name, it.tag), mirrortree.TagList(it.name)} {
			if !filepath.IsLocal(p) || path.Clean(p) != p || !strings.HasPrefix(p, "v2/"+it.name+"/") {
				t.Errorf("%q: %q", s, p)
			}
		}
	})
}
