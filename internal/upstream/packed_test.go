package upstream

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

func TestPackedPackages(t *testing.T) {
	text := "Package: a\nFilename: pool/a_1_all.deb\nSHA256: " + sumA + "\n"
	var asXZ, asGzip bytes.Buffer
	x, err := xz.NewWriter(&asXZ)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{x, gzip.NewWriter(&asGzip)} {
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string][]byte{"xz": asXZ.Bytes(), "gz": asGzip.Bytes()} {
		l, err := read(t, "Packages."+name, string(b))
		if err != nil || l.Kind != KindPackages || len(l.Find("a_1_all.deb")) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := read(t, "Packages."+name, string(b[:len(b)-6])); err == nil || code(err) != 3 {
			t.Errorf("%s, cut off: %v", name, err)
		}
	}
	// What a signed Release names are the bytes that are fetched.
	key := newKey(t, 0)
	release := inClear(t, release("", asXZ.String()), key)
	all, err := Read([]Document{{"Packages.xz", asXZ.Bytes()}, {"InRelease", release}}, keyring(t, key), now)
	if err != nil || all.Lists[0].Root != "InRelease" {
		t.Errorf("%v", err)
	}
	if _, err := Read([]Document{{"Packages.gz", asGzip.Bytes()}, {"InRelease", release}}, keyring(t, key), now); err == nil || !strings.Contains(err.Error(), "does not name") {
		t.Errorf("%v", err)
	}
}
