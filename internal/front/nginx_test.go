package front

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/testserver"
)

// plainSite has what Nginx looks for in the configuration of a mirror.
const plainSite = "server {\n" + listenLine + `    location ~ "^/v2/.+/blobs/(?<mirror_algorithm>sha256):(?<mirror_hex>[0-9a-f]+)$" {
` + blobsLine + "    }\n}\n"

func nginxConfig(t *testing.T, text string) *Config {
	t.Helper()
	c, err := ParseConfig("front.yaml", []byte(text+"mirrors: [{url: https://a.example}, {url: https://b.example/blobs}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNginxMany: nginx has nothing to say of a configuration for many blobs.
func TestNginxMany(t *testing.T) {
	c := nginxConfig(t, "")
	found := &Checked{}
	for _, m := range c.Mirrors {
		found.up = append(found.up, newMirror(m))
	}
	const many = 5000
	for i := range many {
		d := digest.FromString(fmt.Sprint(i))
		found.blobs = append(found.blobs, blob{digest: d})
		for k, m := range found.up {
			m.has[d] = k == 0 || i > 0 // the second lacks the first
		}
	}
	text, err := Nginx(plainSite, c, found)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1, 1} {
		if n := strings.Count(text, digest.FromString(fmt.Sprint(i)).Encoded()[:keyLength]); n != want {
			t.Errorf("blob %d is there %d times", i, n)
		}
	}
	for line := range strings.Lines(text) {
		if len(line) > 4000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if said := testserver.CheckNginx(t, text); said != "" {
		t.Errorf("nginx says: %s", said)
	}
}

// TestNginxListens: nginx listens where the front would.
func TestNginxListens(t *testing.T) {
	abs, err := filepath.Abs("cert.pem")
	if err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		"":                               "    listen 5000;\n",
		"listen: 192.0.2.1:80\n":         "    listen 192.0.2.1:80;\n",
		"listen: \"[2001:db8::1]:80\"\n": "    listen [2001:db8::1]:80;\n",
		"listen: :443\ntls-cert: cert.pem\ntls-key: /k\n": "    listen 443 ssl;\n    ssl_certificate \"" + abs + "\";\n    ssl_certificate_key \"/k\";\n",
	} {
		text, err := Nginx(plainSite, nginxConfig(t, config), nil)
		if err != nil || !strings.Contains(text, want) || strings.Count(text, "listen ") != 1 {
			t.Errorf("%q: %v\n%s", config, err, text)
		}
	}
	if _, err := Nginx(plainSite, nginxConfig(t, "tls-cert: /a;b\ntls-key: /k\n"), nil); err == nil {
		t.Error("a path that ends the line is accepted")
	}
}
