//go:build linux

package serve

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testneed"
)

// efi is the least that is recognised as an EFI program.
func efi() string {
	b := make([]byte, 200)
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[60:], 128)
	copy(b[128:], "PE\x00\x00")
	return string(b)
}

// httpClient speaks from one of the addresses of the loopback.
func httpClient(from string) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return &http.Client{
		Transport:     &http.Transport{DialContext: d.DialContext, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (r *running) url(path string) string { return "http://" + r.HTTPAddr().String() + path }

// do gives an answer and its body.
func do(t testing.TB, c *http.Client, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// TestHTTP: what firmware, loaders and people ask.
func TestHTTP(t *testing.T) {
	dir := t.TempDir()
	body := random(9, 100_000)
	install(t, dir, "os/debian/12/amd64", bootdir.ModeDir, content{
		"shim.efi": efi(), "BOOT": "-> shim.efi", "BOOT.efi": "-> shim.efi", "BOOTA": "-> grub", "grub": efi(),
		"linux": body, "odd #?name": "odd", "dos": "MZ is not enough" + strings.Repeat(" ", 100), "empty": "",
	})
	write(t, dir, "os/debian/12/amd64/grub.cfg", "menu")
	s := start(t, Options{Dir: dir})
	c := httpClient("127.0.0.1")
	defer c.CloseIdleConnections()
	const at = "/os/debian/12/amd64/"
	for _, q := range []struct {
		method, path, header string
		code                 int
		body, kind           string
	}{
		{"GET", at + "BOOT", "", 200, efi(), "application/efi"},
		{"GET", at + "BOOT.efi", "", 200, efi(), "application/efi"},
		{"GET", at + "BOOTA", "", 200, efi(), "application/efi"},
		{"HEAD", at + "BOOT", "", 200, "", "application/efi"},
		{"GET", at + "/BOOT", "", 200, efi(), "application/efi"},
		{"GET", "//os//debian/12/amd64///linux", "", 200, body, "application/octet-stream"},
		{"GET", at + "linux", "bytes=10-19", 206, body[10:20], "application/octet-stream"},
		{"GET", at + "linux", "bytes=-5", 206, body[len(body)-5:], "application/octet-stream"},
		{"GET", at + "linux", "bytes=200000-", 416, "*", "*"},
		{"GET", at + "grub.cfg", "", 200, "menu", "text/plain; charset=utf-8"},
		{"GET", at + "dos", "", 200, "*", "application/octet-stream"},
		{"GET", at + "empty", "", 200, "", "application/octet-stream"},
		{"GET", at + "odd%20%23%3Fname", "", 200, "odd", "application/octet-stream"},
		{"GET", at + "revocations.efi", "", 404, "*", "*"},
		{"GET", at + "linux/", "", 404, "*", "*"},
		{"GET", "/.nbextract/lock", "", 404, "*", "*"},
		{"GET", "/%2enbextract/lock", "", 404, "*", "*"},
		{"GET", "/os/%2e%2e/%2e%2e/etc/passwd", "", 404, "*", "*"},
		{"GET", "/a%00b", "", 404, "*", "*"},
		{"PUT", at + "linux", "", 405, "*", "*"},
		{"POST", "/", "", 405, "*", "*"},
	} {
		header := []string{}
		if q.header != "" {
			header = append(header, "Range", q.header)
		}
		resp, got := do(t, c, q.method, s.url(q.path), header...)
		if resp.StatusCode != q.code || q.body != "*" && got != q.body || q.kind != "*" && resp.Header.Get("Content-Type") != q.kind {
			t.Errorf("%s %s %s: %d, %d bytes, %q", q.method, q.path, q.header, resp.StatusCode, len(got), resp.Header.Get("Content-Type"))
		}
		if q.method == "HEAD" && resp.ContentLength != int64(len(efi())) {
			t.Errorf("HEAD says %d bytes", resp.ContentLength)
		}
	}
	resp, _ := do(t, c, "GET", s.url(at+"linux"))
	if again, _ := do(t, c, "GET", s.url(at+"linux"), "If-None-Match", resp.Header.Get("Etag")); again.StatusCode != 304 {
		t.Errorf("unchanged: %d", again.StatusCode)
	}
}

// TestPage: the trees with their digests and ages, what is in a directory, and
// nothing that runs.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	older := install(t, dir, "os/debian/12/amd64", bootdir.ModeDir, content{"linux": "1"})
	write(t, dir, "x/<script>alert(1)<", "x")
	write(t, dir, "x/.hidden", "x")
	s := start(t, Options{Dir: dir})
	c := httpClient("127.0.0.7")
	defer c.CloseIdleConnections()
	do(t, c, "GET", s.url("/os/debian/12/amd64/linux"))
	newer := install(t, dir, "os/debian/12/amd64", bootdir.ModeDir, content{"linux": "2", "more": "2"})
	_, page := do(t, c, "GET", s.url("/"))
	for _, want := range []string{"os/debian/12/amd64", newer, older, "seconds ago", "linux/amd64", "registry.example/boot:1", "by-digest/"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if _, page = do(t, c, "GET", s.url("/os/debian/12/amd64/")); strings.Contains(page, "more") {
		t.Errorf("a client sees files it does not get:\n%s", page)
	}
	if _, page = do(t, c, "GET", s.url("/x/")); strings.Contains(page, "<script") || strings.Contains(page, ".hidden") {
		t.Errorf("the page of a directory:\n%s", page)
	}
	if resp, _ := do(t, c, "GET", s.url("/os/debian")); resp.StatusCode != 301 || resp.Header.Get("Location") != "./debian/" {
		t.Errorf("a directory without a slash: %d, %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	// Looking at pages is not booting.
	if got := s.store.pins.counts().pins; got != 1 {
		t.Errorf("%d pins", got)
	}
}

// TestBothProtocols: TFTP and HTTP give a machine the same generation.
func TestBothProtocols(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "a", bootdir.ModeDir, content{"shim": "1", "linux": "1"})
	s := start(t, Options{Dir: dir})
	if got, err := s.client("127.0.0.9").fetch(t, "a/shim"); err != nil || got != "1" {
		t.Fatalf("shim %q, %v", got, err)
	}
	install(t, dir, "a", bootdir.ModeDir, content{"shim": "2", "linux": "2"})
	c := httpClient("127.0.0.9")
	defer c.CloseIdleConnections()
	if _, got := do(t, c, "GET", s.url("/a/linux")); got != "1" {
		t.Errorf("linux of generation %q after a shim of 1", got)
	}
	if got, err := s.client("127.0.0.10").fetch(t, "a/shim"); err != nil || got != "2" {
		t.Errorf("another client: %q, %v", got, err)
	}
}

// TestHTTPLimits: connections of one client and of all, and that those who do
// nothing are counted.
func TestHTTPLimits(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "f", "f")
	s := start(t, Options{Dir: dir, MostPerClient: 2, Most: 3})
	open := func(from string) net.Conn {
		t.Helper()
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", s.HTTPAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	answered := func(c net.Conn) bool {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, "GET /f HTTP/1.1\r\nHost: x\r\n\r\n")
		n, _ := c.Read(make([]byte, 10))
		return n > 0
	}
	a, b := open("127.0.0.2"), open("127.0.0.2")
	if !answered(a) || !answered(b) {
		t.Error("the first two of a client")
	}
	if answered(open("127.0.0.2")) {
		t.Error("the third of a client was answered")
	}
	d := open("127.0.0.3")
	if !answered(d) {
		t.Error("another client")
	}
	if answered(open("127.0.0.4")) {
		t.Error("one above all was answered")
	}
}

// TestMonitoring: metrics and health, on their own listener only.
func TestMonitoring(t *testing.T) {
	dir := t.TempDir()
	digest := install(t, dir, "a", bootdir.ModeDir, content{"linux": "linux"})
	synced := make(chan struct{})
	s := start(t, Options{
		Dir: dir, Metrics: "127.0.0.1:0", Every: time.Hour,
		Refresh: func(context.Context) error { close(synced); return fmt.Errorf("no network") },
	})
	<-synced
	if _, err := s.client("127.0.0.1").fetch(t, "a/linux"); err != nil {
		t.Fatal(err)
	}
	_, _ = s.client("127.0.0.1").fetch(t, "a/nothing")
	c := httpClient("127.0.0.1")
	defer c.CloseIdleConnections()
	do(t, c, "GET", s.url("/a/linux"))
	admin := "http://" + s.MetricsAddr().String()
	if resp, body := do(t, c, "GET", admin+"/healthz"); resp.StatusCode != 200 || body != "ok\n" {
		t.Errorf("health %d %q", resp.StatusCode, body)
	}
	wants := []string{
		`nbextract_serve_sent_bytes_total{protocol="tftp"} 5`, `nbextract_serve_sent_bytes_total{protocol="http"} 5`,
		`nbextract_serve_transfers_total{protocol="tftp",outcome="not_found"} 1`, "nbextract_serve_pins 1",
		`nbextract_serve_tree_installed_timestamp_seconds{path="a",digest="` + digest + `",platform="linux/amd64"}`,
	}
	// A transfer is counted when the last acknowledgement is in, which the client
	// does not wait for.
	var metrics string
	lacking := func(want string) bool { return !strings.Contains(metrics, want) }
	for end := time.Now().Add(time.Minute); ; {
		_, metrics = do(t, c, "GET", admin+"/metrics")
		if !slices.ContainsFunc(wants, lacking) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the metrics lack one of %q:\n%s", wants, metrics)
		}
	}
	if resp, _ := do(t, c, "GET", s.url("/metrics")); resp.StatusCode != 404 {
		t.Errorf("metrics for machines that boot: %d", resp.StatusCode)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".nbextract", "trees")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, ".nbextract/trees", "no directory")
	if resp, _ := do(t, c, "GET", admin+"/healthz"); resp.StatusCode != 503 {
		t.Errorf("health of a damaged directory: %d", resp.StatusCode)
	}
}

// TestCurl fetches with curl, whole, in part and what broke off.
func TestCurl(t *testing.T) {
	curl := testneed.Tool(t, "curl")
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "got")
	body := random(11, 2<<20)
	install(t, dir, "a", bootdir.ModeDir, content{"initrd": body})
	s := start(t, Options{Dir: dir})
	for _, args := range [][]string{{"--output", out}, {"--output", out, "--continue-at", "-"}} {
		if len(args) > 2 {
			if err := os.Truncate(out, 12345); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "--silent", "--show-error", "--fail", "--noproxy", "*", s.url("//a/initrd"))
		if msg, err := exec.Command(curl, args...).CombinedOutput(); err != nil {
			t.Fatalf("curl: %v: %s", err, msg)
		}
		if got, err := os.ReadFile(out); err != nil || string(got) != body {
			t.Errorf("%q: %d bytes, %v", args, len(got), err)
		}
	}
}
