package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPinsAndOrigins(t *testing.T) {
	dir := t.TempDir()
	archive, plain := filepath.Join(dir, "netboot.tar"), filepath.Join(dir, "linux")
	tar := tarOf(t, "initrd.gz=initrd")
	sum := hexSum(string(tar))
	for name, b := range map[string][]byte{archive: tar, plain: []byte("kernel")} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	type call struct{ base, sha256 string }
	var asked []call
	o := Options{
		Sources: []string{archive, plain}, Pins: map[string]string{plain: hexSum("kernel")},
		Admit: func(base, sha256 string) error { asked = append(asked, call{base, sha256}); return nil },
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(asked) != 1 || asked[0] != (call{"netboot.tar", sum}) {
		t.Errorf("asked about %v", asked)
	}
	got := s.Origins()
	if len(got) != 2 || got[0].SHA256 != sum || got[0].Base != "netboot.tar" || got[0].Public != "netboot.tar" || got[0].Name != archive ||
		got[1].SHA256 != hexSum("kernel") || got[1].Base != "linux" {
		t.Errorf("%+v", got)
	}

	no := errors.New("not this one")
	o.Admit = func(string, string) error { return no }
	if _, err := Open(t.Context(), o); !errors.Is(err, no) {
		t.Errorf("admitted: %v", err)
	}
	bad := strings.Repeat("0", 64)
	for _, tt := range []struct {
		source, pin, want string
		code              int
	}{
		{archive, bad, "not the one it is pinned to", 3},
		{plain, bad, "not the one it is pinned to", 3},
		{plain, "00", "does not pin", 2},
		{dir, bad, "is a directory", 2},
		{"oci:" + dir, bad, "is an image", 2},
		{"https://registry.example/linux", bad, "is a URL", 2},
	} {
		_, err := Open(t.Context(), Options{Sources: []string{tt.source}, Pins: map[string]string{tt.source: tt.pin}})
		if err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != tt.code {
			t.Errorf("%s: %v", tt.source, err)
		}
	}
}

func TestPublic(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"/srv/secret/netboot.tar.gz": "netboot.tar.gz", "file:/a/b": "b", ".": filepath.Base(wd), "tree/": "tree",
		"https://u:p@registry.example/a%20b/c.iso?token=x#sha256=00": "https://registry.example/a%20b/c.iso",
		"docker://registry.example/boot:12":                          "docker://registry.example/boot:12",
	} {
		if got := public(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := baseOf("https://registry.example/a%20b"); got != "a b" {
		t.Error(got)
	}
}

func TestFetch(t *testing.T) {
	url := serve(t, map[string]string{"/SHA256SUMS": "list"})
	o := Options{PlainHTTP: true}
	if b, err := Fetch(t.Context(), o, url+"/SHA256SUMS", 4); err != nil || string(b) != "list" {
		t.Errorf("%q %v", b, err)
	}
	for name, want := range map[string]string{"/SHA256SUMS#sha256=" + hexSum("x"): "pinned", "/other": "404"} {
		if _, err := Fetch(t.Context(), o, url+name, 4); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Fetch(t.Context(), o, url+"/SHA256SUMS", 3); err == nil || !strings.Contains(err.Error(), "more than 3 bytes") {
		t.Errorf("too large: %v", err)
	}
}
