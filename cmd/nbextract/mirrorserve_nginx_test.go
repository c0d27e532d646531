package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testserver"
)

// location asks for a blob as a client from an address, and gives where it is sent;
// empty: it got the blob.
func location(t *testing.T, method, url, client string, header ...string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", client)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case resp.StatusCode == http.StatusTemporaryRedirect:
		return resp.Header.Get("Location")
	case resp.StatusCode == http.StatusNotFound:
		return "404"
	case resp.StatusCode != http.StatusOK || method == http.MethodGet && n == 0:
		t.Errorf("%s %s: %s, %d bytes", method, url, resp.Status, n)
	}
	return ""
}

// aBlob gives the digest of some blob of a tree.
func (n *mirrorNet) aBlob() string {
	n.t.Helper()
	entries, err := os.ReadDir(filepath.Join(n.dir, "blobs/sha256"))
	if err != nil || len(entries) == 0 {
		n.t.Fatal(err)
	}
	return entries[0].Name()
}

// printed gives the configuration of nginx for a front.
func (n *mirrorNet) printed(text string, more ...string) string {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "front.yaml")
	save(n.t, filepath.Dir(file), "front.yaml", []byte(text))
	r := runHere(n.t, append([]string{"mirror", "serve", "-c", file, "--print-config", "nginx", n.dir}, more...)...)
	if r.code != 0 {
		n.t.Fatalf("exit code %d\n%s", r.code, r.stderr)
	}
	return r.stdout
}

// TestMirrorServeNginx: nginx alone sends clients where the front would.
func TestMirrorServeNginx(t *testing.T) {
	n := newMirrorNet(t)
	testserver.Readable(t, n.dir)
	text := `trusted-proxies: 127.0.0.1
mirrors:
- {url: "https://campus.example/x", networks: [192.0.2.0/24, "2001:db8:1::/48"]}
- {url: "https://country.example/blobs", networks: [192.0.0.0/8]}
- {url: "https://inside.example", networks: 10.0.0.0/8, private: true}
- {url: "https://small.example", weight: 100}
- {url: "https://large.example", weight: 300}
`
	addr := testserver.Nginx(t, n.printed(text))
	blob := "http://" + addr + "/v2/netboot/blobs/sha256:" + n.aBlob()
	for client, want := range map[string]string{
		"192.0.2.7":              "https://campus.example/x/v2/netboot/blobs/sha256:" + n.aBlob(),
		"2001:db8:1::9":          "https://campus.example/x/v2/netboot/blobs/sha256:" + n.aBlob(),
		"192.9.9.9":              "https://country.example/blobs/sha256/" + n.aBlob(),
		"10.1.2.3":               "https://inside.example/v2/netboot/blobs/sha256:" + n.aBlob(),
		"203.0.113.9, 192.0.2.7": "https://campus.example/x/v2/netboot/blobs/sha256:" + n.aBlob(),
		"192.0.2.8, 127.0.0.1":   "https://campus.example/x/v2/netboot/blobs/sha256:" + n.aBlob(),
	} {
		if got := location(t, http.MethodGet, blob, client); got != want {
			t.Errorf("%s is sent to %q, want %q", client, got, want)
		}
	}
	counts := map[string]int{}
	const tries = 500
	for range tries {
		counts[strings.Split(location(t, http.MethodGet, blob, "198.51.100.1"), "/v2/")[0]]++
	}
	// All that are not private, by their weights: 1 : 1 : 1 : 3 of the four.
	if large, inside := counts["https://large.example"], counts["https://inside.example"]; large < tries*35/100 || large > tries*65/100 || inside > 0 || len(counts) != 4 {
		t.Errorf("%v", counts)
	}
	for what, got := range map[string]string{
		"HEAD":         location(t, http.MethodHead, blob, "192.0.2.7"),
		"no copy":      location(t, http.MethodGet, blob, "192.0.2.7", "Cache-Control", "no-cache"),
		"the manifest": location(t, http.MethodGet, "http://"+addr+"/v2/netboot/manifests/v", "192.0.2.7"),
		"the tags":     location(t, http.MethodGet, "http://"+addr+"/v2/netboot/tags/list", "192.0.2.7"),
	} {
		if got != "" {
			t.Errorf("%s is sent to %q", what, got)
		}
	}
	if got := location(t, http.MethodGet, "http://"+addr+"/v2/netboot/blobs/sha256:"+strings.Repeat("0", 64), "192.0.2.7"); got != "404" {
		t.Errorf("a blob that is not there: %q", got)
	}
}

// TestMirrorServeNginxCrawled: only mirrors that are well get into the file, with
// what they have; and clients pull over that.
func TestMirrorServeNginxCrawled(t *testing.T) {
	n := newMirrorNet(t)
	testserver.Readable(t, n.dir)
	n.stops[0]()
	n.damage(1)
	gone := n.aBlob()
	if err := os.Remove(filepath.Join(n.copies[2], "blobs/sha256", gone)); err != nil {
		t.Fatal(err)
	}
	text := "crawl: {samples: 100}\nmirrors:\n"
	for i := range n.copies {
		text += fmt.Sprintf("- {name: m%d, url: %q}\n", i, n.url(i))
	}
	conf := n.printed(text, "--crawl")
	if !strings.Contains(conf, n.url(2)) || strings.Contains(conf, n.url(1)) || strings.Contains(conf, n.url(0)) {
		t.Errorf("configuration:\n%s", conf)
	}
	addr := testserver.Nginx(t, conf)
	blobs, sent := "http://"+addr+"/v2/netboot/blobs/sha256:", 0
	entries, err := os.ReadDir(filepath.Join(n.dir, "blobs/sha256"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if location(t, http.MethodGet, blobs+e.Name(), "192.0.2.1") != "" {
			sent++
		}
	}
	if at := location(t, http.MethodGet, blobs+gone, "192.0.2.1"); at != "" || sent != len(entries)-1 {
		t.Errorf("%d of %d are sent to the mirror, what it lacks to %q", sent, len(entries), at)
	}
	for name, pull := range frontClients(t, n) {
		if err := pull(t, addr); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// And where no mirror is well, nginx gives all itself.
	n.damage(2)
	addr = testserver.Nginx(t, n.printed(text, "--crawl"))
	if at := location(t, http.MethodGet, "http://"+addr+"/v2/netboot/blobs/sha256:"+gone, "192.0.2.1"); at != "" {
		t.Errorf("sent to %q", at)
	}
}

// TestMirrorServeCheck: mistakes are found before anything is served.
func TestMirrorServeCheck(t *testing.T) {
	n := newMirrorNet(t)
	dir := t.TempDir()
	save(t, dir, "good.yaml", []byte("mirrors: [{name: good, url: \""+n.url(1)+"\"}, {name: dead, url: \"http://127.0.0.1:1\"}, {name: misspelt, url: \""+n.url(1)+"/nowhere\"}]\n"))
	save(t, dir, "dead.yaml", []byte("mirrors: [{url: \"http://127.0.0.1:1\"}]\n"))
	save(t, dir, "bad.yaml", []byte("mirrors:\n- url: https://a.example\n  weigth: 3\n"))
	good, dead, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "dead.yaml"), filepath.Join(dir, "bad.yaml")
	blobs, err := os.ReadDir(filepath.Join(n.dir, "blobs/sha256"))
	if err != nil {
		t.Fatal(err)
	}
	well := fmt.Sprintf("good %s up with %d of %[2]d blobs\ndead http://127.0.0.1:1 down Head", n.url(1), len(blobs))
	misspelt := fmt.Sprintf("misspelt %s/nowhere up with 0 of %d blobs\n", n.url(1), len(blobs))
	for _, tt := range []struct {
		args []string
		code int
		out  string
		errs string
	}{
		{[]string{"-c", good, "--check", n.dir}, 0, "", ""},
		{[]string{"-c", good, "--check", "--crawl", n.dir}, 0, well, `mirror "dead" is down`},
		{[]string{"-c", good, "--check", "--crawl", n.dir}, 0, misspelt, ""},
		{[]string{"-c", good, "--check", "--crawl", "--json", n.dir}, 0, fmt.Sprintf("{\n  \"blobs\": %d,\n", len(blobs)), ""},
		{[]string{"-c", dead, "--check", "--crawl", n.dir}, 1, "down", "no mirror is well"},
		{[]string{"-c", bad, "--check", n.dir}, 2, "", bad + `:3: mirrors[0].weigth: unknown key; did you mean "weight"?`},
		{[]string{"-c", filepath.Join(dir, "none.yaml"), "--check", n.dir}, 4, "", "none.yaml"},
		{[]string{"-c", good, "--crawl", n.dir}, 2, "", "--crawl goes with"},
		{[]string{"-c", good, "--print-config", "apache", n.dir}, 2, "", "--print-config is nginx"},
		{[]string{"-c", good, "--json", n.dir}, 2, "", "--json goes with"},
		{[]string{"-c", good, dir}, 4, "", "is no mirror"},
		{[]string{n.dir}, 2, "", "config"},
		{[]string{"-c", good}, 2, "", "arg"},
	} {
		r := runHere(t, append([]string{"mirror", "serve"}, tt.args...)...)
		if r.code != tt.code || !strings.Contains(r.stdout, tt.out) || !strings.Contains(r.stderr, tt.errs) {
			t.Errorf("%q: exit code %d\n%s%s", tt.args, r.code, r.stdout, r.stderr)
		}
	}
}
