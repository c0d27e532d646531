package pack

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

const statementSubject = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// goodStatement is a statement as Attach writes it.
const goodStatement = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],` +
	`"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{` +
	`"buildType":"https://github.com/nbpack/nbpack/blob/main/docs/provenance.md#build-type-1",` +
	`"externalParameters":{"format":"image","sources":["a.deb","file:2/b"],"platform":"linux/amd64","compression":"gzip","checksums":["SHA256SUMS"]},` +
	`"resolvedDependencies":[{"name":"a.deb","digest":{"sha256":"` + hexOne + `"},"annotations":{"role":"source","kind":"archive"}},` +
	`{"name":"file:2/b","digest":{"sha256":"` + hexOne + `"},"annotations":{"role":"source","kind":"file"}},` +
	`{"name":"SHA256SUMS","digest":{"sha256":"` + hexOne + `"},"annotations":{"role":"checksums"}}]},` +
	`"runDetails":{"builder":{"id":"https://github.com/nbpack/nbpack","version":{"nbpack":"v1"}}}}}`

const hexOne = "1111111111111111111111111111111111111111111111111111111111111111"

func TestParseStatement(t *testing.T) {
	s, err := ParseStatement([]byte(goodStatement), statementSubject)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Predicate.BuildDefinition.ExternalParameters.options()
	if err != nil || o.Platform.Architecture != "amd64" || len(o.Sources) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, tt := range []struct{ name, old, new string }{
		{"another subject", `"subject":[{"digest":{"sha256":"e3`, `"subject":[{"digest":{"sha256":"00`},
		{"another predicate", "slsa.dev/provenance/v1", "slsa.dev/provenance/v0.2"},
		{"another build", "build-type-1", "build-type-2"},
		{"an option of tomorrow", `"format":"image"`, `"format":"image","sign":true`},
		{"an option twice", `"format":"image"`, `"format":"image","format":"file"`},
		{"a path", `"a.deb"`, `"/etc/passwd"`},
		{"a path upwards", `"a.deb"`, `"../a.deb"`},
		{"a path below", `"a.deb"`, `"x/a.deb"`},
		{"no dependency", `"role":"checksums"`, `"role":"keyring"`},
		{"another dependency", `{"name":"a.deb"`, `{"name":"b.deb"`},
		{"two digests", `{"sha256":"` + hexOne + `"},"annotations":{"role":"checksums"`, `{"sha256":"` + hexOne + `","sha512":"1"},"annotations":{"role":"checksums"`},
		{"no digest of a source", `{"name":"a.deb","digest":{"sha256":"` + hexOne + `"}`, `{"name":"a.deb"`},
		{"no digest of checksums", `{"name":"SHA256SUMS","digest":{"sha256":"` + hexOne + `"}`, `{"name":"SHA256SUMS","digest":{}`},
		{"a digest of a directory that is a path", `{"sha256":"` + hexOne + `"},"annotations":{"role":"source","kind":"archive"`, `{"dirHash":"../x"},"annotations":{"role":"source","kind":"archive"`},
		{"no such digest", `{"sha256":"` + hexOne + `"},"annotations":{"role":"checksums"`, `{"sha256":"../x"},"annotations":{"role":"checksums"`},
		{"no JSON", `{"_type"`, `x{"_type"`},
		{"something behind", `{"nbpack":"v1"}}}}}`, `{"nbpack":"v1"}}}}} {}`},
	} {
		bad := strings.ReplaceAll(goodStatement, tt.old, tt.new)
		if bad == goodStatement {
			t.Fatalf("%s changes nothing", tt.name)
		}
		_, err := ParseStatement([]byte(bad), statementSubject)
		var refusal *spec.Refusal
		if !errors.As(err, &refusal) || refusal.ExitCode() != 3 {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, tt := range []struct{ old, new string }{{`"linux/amd64"`, `"../.."`}, {`"gzip"`, `"rar"`}, {`"image"`, `"zip"`}} {
		s, err := ParseStatement([]byte(strings.Replace(goodStatement, tt.old, tt.new, 1)), statementSubject)
		if err == nil {
			_, err = s.Predicate.BuildDefinition.ExternalParameters.options()
		}
		if !errors.As(err, new(*spec.Refusal)) {
			t.Errorf("%s: %v", tt.new, err)
		}
	}
}

// FuzzParseStatement: what is accepted names nothing outside the directories that
// are searched, and can be written again.
func FuzzParseStatement(f *testing.F) {
	f.Add([]byte(goodStatement))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := ParseStatement(body, statementSubject)
		if err != nil {
			return
		}
		q := &s.Predicate.BuildDefinition.ExternalParameters
		for _, name := range slices.Concat(q.Sources, q.Checksums, q.Keyrings) {
			if strings.HasPrefix(name, "/") || strings.HasPrefix(name, "../") || name == "" {
				t.Errorf("name %q", name)
			}
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseStatement(again, statementSubject); err != nil {
			t.Errorf("%v: %s", err, again)
		}
	})
}

func TestAnonymous(t *testing.T) {
	got := anonymous([]string{"/a/x", "/b/x", "file:/a/y", "/b/y", "https://u:p@registry.example/z?t=1#sha256=00", "oci:/a/lay:v1", "oci-archive:/a/f.tar", "docker://registry.example/x:1"})
	want := []string{"x", "2/x", "file:y", "2/y", "https://registry.example/z", "oci:lay:v1", "oci-archive:f.tar", "docker://registry.example/x:1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, name := range got {
		if !isAnonymous(name) {
			t.Errorf("%q", name)
		}
	}
}

func TestPackageURL(t *testing.T) {
	for _, tt := range [][5]string{
		{"a_1.deb", "debian", "shim-signed", "1.39+15.7-1", "pkg:deb/debian/shim-signed@1.39%2B15.7-1"},
		{"a.rpm", "Fedora", "Shim", "15.8-3", "pkg:rpm/fedora/shim@15.8-3"},
		{"a.deb", "", "x", "1", ""}, {"a.deb", "debian", "x", "", ""}, {"a.tar", "debian", "x", "1", ""},
	} {
		if got := packageURL(tt[0], tt[1], tt[2], tt[3]); got != tt[4] {
			t.Errorf("%q, want %q", got, tt[4])
		}
	}
}

// TestDirHash holds the digest of a directory against the one of
// golang.org/x/mod/sumdb/dirhash: sha256sum of the output of sha256sum.
func TestDirHash(t *testing.T) {
	lines := hexOne + "  a\n" + hexOne + "  b/c\n"
	if got := hashFiles([]spec.Sum{{Path: "b/c", SHA256: hexOne}, {Path: "a", SHA256: hexOne}}); got != digest.FromString(lines).Encoded() {
		t.Error(got)
	}
}
