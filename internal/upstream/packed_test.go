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
	key := newKey(t, 0)
	ring := keyring(t, key)
	// What a signed Release names are the bytes that are fetched.
	signed := func(name string, b []byte) (*Lists, error) {
		return Read([]Document{{name, b}, {"InRelease", inClear(t, release("", string(b)), key)}}, ring, now)
	}
	for name, b := range map[string][]byte{"xz": asXZ.Bytes(), "gz": asGzip.Bytes()} {
		all, err := signed("Packages."+name, b)
		if err != nil || all.Lists[0].Kind != KindPackages || len(all.Lists[0].Find("a_1_all.deb")) != 1 || all.Lists[0].Root != "InRelease" {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := signed("Packages."+name, b[:len(b)-6]); err == nil || code(err) != 3 {
			t.Errorf("%s, cut off: %v", name, err)
		}
		if _, err := read(t, "Packages."+name, string(b)); err == nil || code(err) != 2 {
			t.Errorf("%s, unsigned: %v", name, err)
		}
	}
	release := inClear(t, release("", asXZ.String()), key)
	if _, err := Read([]Document{{"Packages.gz", asGzip.Bytes()}, {"InRelease", release}}, ring, now); err == nil || !strings.Contains(err.Error(), "does not name") {
		t.Errorf("%v", err)
	}
}
