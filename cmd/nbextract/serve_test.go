package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/testneed"
)

// serving is a run of nbextract serve.
type serving struct {
	t      *testing.T
	cancel context.CancelFunc
	code   chan int
	lines  chan string // read as they come, or the server would wait for us
	said   []string
}

func startServe(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	s := &serving{t: t, cancel: cancel, code: make(chan int, 1), lines: make(chan string, 10000)}
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	go func() {
		defer w.Close()
		s.code <- cli.Run(ctx, app(), append([]string{"serve"}, args...), io.Discard, w)
	}()
	t.Cleanup(func() { cancel(); r.Close() })
	return s
}

// until reads what the server says up to a line that matches, and gives the first
// part in parentheses.
func (s *serving) until(pattern string) string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	for line := range s.lines {
		s.said = append(s.said, line)
		if m := re.FindStringSubmatch(line); m != nil {
			return m[len(m)-1]
		}
	}
	s.t.Fatalf("the server ended with %d without saying %q:\n%s", <-s.code, pattern, strings.Join(s.said, "\n"))
	return ""
}

// stop ends the server as SIGTERM does.
func (s *serving) stop() {
	s.t.Helper()
	s.cancel()
	s.until("stopped$")
	if code := <-s.code; code != 0 {
		s.t.Errorf("a stopped server ended with %d", code)
	}
}

func httpGet(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
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

// buildSet packs a set of boot files with this kernel and gives the reference.
func buildSet(t *testing.T, dir, kernel string) string {
	t.Helper()
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"shimx64.efi": "shim", "grubx64.efi": "grub", "pxelinux.0": "pxelinux", "vmlinuz": kernel} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ref := "oci:" + filepath.Join(dir, "img") + ":v1"
	out, err := exec.Command(nbpackPath(t), "build", "--os-name", "debian", "--os-version", "12", "--platform", "amd64", tree, ref).CombinedOutput()
	if err != nil {
		t.Fatalf("nbpack build: %v\n%s", err, out)
	}
	return ref
}

// TestServeImage: a first try, straight from an image; nothing is left of it.
func TestServeImage(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	if err := os.MkdirAll(os.Getenv("TMPDIR"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, buildSet(t, dir, "kernel 1"), "--tftp", "127.0.0.1:0", "--http", "127.0.0.1:0")
	s.until("by TFTP at (.*)")
	url := "http://" + s.until("by HTTP at (.*)")
	if resp, got := httpGet(t, url+"/debian/12/amd64/BOOT.efi"); got != "shim" || resp.Header.Get("Content-Type") != "application/efi" {
		t.Errorf("BOOT.efi is %q, %q", got, resp.Header.Get("Content-Type"))
	}
	s.until(`http 127.0.0.1: GET "/debian/12/amd64/BOOT.efi": 200, sent 4 bytes in .* of sha256:`)
	s.stop()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestServeSync: the trees of a catalogue come, and stay fresh.
func TestServeSync(t *testing.T) {
	dir := t.TempDir()
	boot := filepath.Join(dir, "boot")
	ref := buildSet(t, dir, "kernel 1")
	catalog := filepath.Join(dir, "catalog.yaml")
	text := fmt.Sprintf("destination: %s\nplatforms: [linux/amd64]\nimages:\n  - ref: %s\n", boot, ref)
	if err := os.WriteFile(catalog, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, "--sync", catalog, "--every", "1s", "--tftp", "", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--pin", "0")
	url := "http://" + s.until("by HTTP at (.*)")
	s.until("sync: debian/12/amd64 sha256:.* changed")
	if _, got := httpGet(t, url+"/debian/12/amd64/vmlinuz"); got != "kernel 1" {
		t.Errorf("got %q", got)
	}
	buildSet(t, dir, "kernel 2")
	s.until("sync: debian/12/amd64 sha256:.* changed")
	if _, got := httpGet(t, url+"/debian/12/amd64/vmlinuz"); got != "kernel 2" {
		t.Errorf("got %q after the update", got)
	}
	if err := os.WriteFile(catalog, []byte("nonsense: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.until("warning: sync: .*nonsense")
	if _, got := httpGet(t, url+"/debian/12/amd64/vmlinuz"); got != "kernel 2" {
		t.Errorf("got %q with a broken catalogue", got)
	}
	s.stop()
}

// TestServeDHCP: what is printed is what the servers accept, and names files that
// are there.
func TestServeDHCP(t *testing.T) {
	dir := t.TempDir()
	boot := filepath.Join(dir, "boot")
	nbextract := func(args ...string) (string, int) {
		var out, err bytes.Buffer
		code := cli.Run(context.Background(), app(), args, &out, &err)
		return out.String() + err.String(), code
	}
	if out, code := nbextract("pull", buildSet(t, dir, "kernel"), "-d", boot); code != 0 {
		t.Fatal(out)
	}
	for dialect, want := range map[string][]string{
		"dnsmasq": {
			"dhcp-match=set:nb-bios,option:client-arch,0\n", "dhcp-boot=tag:nb-bios,debian/12/amd64/BOOTL,,192.0.2.1\n",
			"option:client-arch,7\n", "option:client-arch,9\n", "dhcp-boot=tag:nb-x64,debian/12/amd64/BOOT,,192.0.2.1\n",
			"dhcp-boot=tag:nb-x64-http,http://192.0.2.1/debian/12/amd64/BOOT.efi\n", "vendor-class,HTTPClient",
		},
		"isc": {`filename "debian/12/amd64/BOOTL";`, "nb-client-arch = 00:07 or option nb-client-arch = 00:09", `filename "http://192.0.2.1/debian/12/amd64/BOOT.efi";`},
		"kea": {`"boot-file-name": "debian/12/amd64/BOOTL"`, "option[93].hex == 0x0010", `"http://192.0.2.1/debian/12/amd64/BOOT.efi"`},
	} {
		out, code := nbextract("serve", "-d", boot, "--print-dhcp", dialect, "--advertise", "192.0.2.1")
		if code != 0 {
			t.Fatalf("%s: %s", dialect, out)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q in\n%s", dialect, w, out)
			}
		}
		if dialect != "dnsmasq" {
			continue
		}
		if tool := testneed.Extra(t, dialect); tool != "" {
			conf := filepath.Join(dir, "dnsmasq.conf")
			if err := os.WriteFile(conf, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
			if msg, err := exec.Command(tool, "--test", "-C", conf).CombinedOutput(); err != nil {
				t.Errorf("dnsmasq: %v: %s\n%s", err, msg, out)
			}
		}
	}
	if out, code := nbextract("serve", "-d", boot, "--print-dhcp", "dnsmasq", "--advertise", "192.0.2.1", "--http", ":8080"); code != 0 || !strings.Contains(out, "http://192.0.2.1:8080/") {
		t.Errorf("another port: %s", out)
	}
	if out, code := nbextract("serve", "-d", boot, "--print-dhcp", "isc", "--tree", "fedora"); code != 4 || !strings.Contains(out, "entrypoint") {
		t.Errorf("no such tree: %d %s", code, out)
	}
	long := strings.Repeat("long/", 24) + "{os.name}"
	if out, code := nbextract("pull", "oci:"+filepath.Join(dir, "img")+":v1", "-d", filepath.Join(dir, "long"), "--layout", long); code != 0 {
		t.Fatal(out)
	}
	if out, code := nbextract("serve", "-d", filepath.Join(dir, "long"), "--print-dhcp", "kea"); code != 1 || !strings.Contains(out, "127") {
		t.Errorf("a path too long for DHCP: %d %s", code, out)
	}
}

// TestServeUsage: what does not go together is refused before anything happens.
func TestServeUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-d", "x", "oci:img:v"}, {"-d", "x", "--platform", "amd64"}, {"-d", "x", "--print-dhcp", "other"}, {"-d", "x", "--tftp", "", "--http", ""},
		{"-d", "x", "--every", "1ms"}, {"-d", "x", "--pin", "-1s"}, {"-d", "x", "--max", "0"}, {"-d", "x", "--print-dhcp", "isc", "--advertise", "host"},
	} {
		var msg bytes.Buffer
		if code := cli.Run(context.Background(), app(), append([]string{"serve"}, args...), io.Discard, &msg); code != 2 {
			t.Errorf("%q: exit %d, %s", args, code, msg.String())
		}
	}
}
