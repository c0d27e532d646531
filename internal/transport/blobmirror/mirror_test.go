package blobmirror

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestParse(t *testing.T) {
	d := digest.FromString("x")
	for _, tt := range []struct{ url, blob string }{
		{"https://m.example", "https://m.example/v2/a/b/blobs/" + d.String()},
		{"https://M.example/", "https://m.example/v2/a/b/blobs/" + d.String()},
		{"http://192.0.2.1:8080/pub/boot/", "http://192.0.2.1:8080/pub/boot/v2/a/b/blobs/" + d.String()},
		{"https://m.example/blobs", "https://m.example/blobs/sha256/" + d.Encoded()},
		{"https://m.example/pub/blobs/", "https://m.example/pub/blobs/sha256/" + d.Encoded()},
		{"https://[2001:db8::1]:444", "https://[2001:db8::1]:444/v2/a/b/blobs/" + d.String()},
		{"m.example", ""},
		{"ftp://m.example", ""},
		{"https://", ""},
		{"https://user:secret@m.example/", ""},
		{"https://m.example/?a=b", ""},
		{"https://m.example/#x", ""},
		{"https:m.example", ""},
		{"https://m.example/%zz", ""},
		{"", ""},
	} {
		m, err := Parse(tt.url)
		if (err == nil) != (tt.blob != "") {
			t.Errorf("%q: %v", tt.url, err)
		} else if err == nil && m.BlobURL("a/b", d).String() != tt.blob {
			t.Errorf("%q: %s", tt.url, m.BlobURL("a/b", d))
		} else if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// FuzzParse: whatever is accepted leads to a blob on the host that it names,
// without credentials, and is the same when it is read again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"https://m.example/x/", "http://[::1]:80/blobs", "https://m.example/../blobs", "https://m.example//v2/%2f", "https://a@b.example"} {
		f.Add(s)
	}
	d := digest.FromString("x")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Parse(s)
		if err != nil {
			return
		}
		u := m.BlobURL("a/b", d)
		if u.Host != m.Host() || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, d.Encoded()) {
			t.Errorf("%q leads to %s", s, u)
		}
		again, err := Parse(m.String())
		if err != nil || again.String() != m.String() {
			t.Errorf("%q is %q, and then %q: %v", s, m, again, err)
		}
	})
}
