package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// serve answers with files by path.
func serve(t *testing.T, files map[string]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(b))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestURL fetches files and archives.
func TestURL(t *testing.T) {
	tgz := string(packWith(t, codecGzip, tarOf(t, "d/x=1")))
	url := serve(t, map[string]string{"/vmlinuz": "kernel", "/a.tar.gz": tgz, "/a.tar": string(tarOf(t, "y=2"))})
	for _, tc := range []struct {
		source string
		plain  bool // --tls-verify=false
		want   string
		code   int
		text   string
	}{
		{"/vmlinuz", true, "vmlinuz=kernel", 0, ""},
		{"/vmlinuz#sha256=" + hexSum("kernel"), false, "vmlinuz=kernel", 0, ""},
		{"/a.tar.gz", true, "d/x=1", 0, ""},
		{"/a.tar", true, "y=2", 0, ""},
		{"/vmlinuz#sha256=" + hexSum("x"), false, "", 3, "pinned"},
		{"/vmlinuz#sha256=12", true, "", 2, "does not pin"},
		{"/vmlinuz#x", true, "", 2, "fragment"},
		{"/vmlinuz", false, "", 2, "not protected by TLS"},
		{"/nothing", true, "", 4, "404"},
		{"/dir/", true, "", 4, ".treeinfo"},
		{"/dir/#sha256=" + hexSum("x"), true, "", 2, "directory"},
	} {
		s, err := Open(t.Context(), Options{Sources: []string{url + tc.source}, PlainHTTP: tc.plain, TempDir: t.TempDir()})
		if tc.code != 0 {
			if exitCode(err) != tc.code || !strings.Contains(err.Error(), tc.text) || hint(err) == "" {
				t.Errorf("%s: code %d, error %v, hint %q", tc.source, exitCode(err), err, hint(err))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.source, err)
			continue
		}
		if got := show(t, s); got != tc.want {
			t.Errorf("%s: got %q", tc.source, got)
		}
		s.Close()
	}
}

// TestURLDirectory refuses the page about a directory, to which a server redirects.
func TestURLDirectory(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/") {
			http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
			return
		}
		fmt.Fprint(w, "<html>")
	}))
	defer srv.Close()
	_, err := Open(t.Context(), Options{Sources: []string{srv.URL + "/tree"}, PlainHTTP: true, TempDir: t.TempDir()})
	if exitCode(err) != 2 || !strings.Contains(err.Error(), "is a directory") || !strings.Contains(hint(err), "slash") {
		t.Errorf("code %d, error %v, hint %q", exitCode(err), err, hint(err))
	}
}

// TestTreeInfo takes the boot set of an install tree, and compares it with what
// the tree says.
func TestTreeInfo(t *testing.T) {
	info := "[release]\nname = Fedora\nversion = 42\n[tree]\narch = x86_64\n[images-x86_64]\nkernel = images/pxeboot/vmlinuz\ninitrd = images/pxeboot/initrd.img\nboot.iso = images/boot.iso\n" +
		"[images-xen]\nkernel = images/xen\n[stage2]\nmainimage = images/install.img\n[checksums]\n" +
		"images/pxeboot/vmlinuz = sha256:" + hexSum("k") + "\nimages/install.img = md5:00\nimages/boot.iso = sha256:" + hexSum("iso") + "\n"
	files := map[string]string{
		"/os/.treeinfo": info, "/os/images/pxeboot/vmlinuz": "k", "/os/images/pxeboot/initrd.img": "i",
		"/os/images/install.img": "stage2", "/os/images/boot.iso": "iso", "/os/EFI/BOOT/BOOTX64.EFI": "shim", "/os/EFI/BOOT/grubx64.efi": "grub",
	}
	o := Options{Sources: []string{serve(t, files) + "/os/"}, PlainHTTP: true}
	s := open(t, o)
	const want = "EFI/BOOT/BOOTX64.EFI=shim EFI/BOOT/grubx64.efi=grub images/install.img=stage2 images/pxeboot/initrd.img=i images/pxeboot/vmlinuz=k"
	if got := show(t, s); got != want {
		t.Errorf("got %s", got)
	}
	if got := says(s); got != "os.name=fedora os.version=42 platform=linux/amd64" {
		t.Errorf("says %s", got)
	}
	for _, e := range s.Entries() {
		if (e.PromisedBy != "") != (e.Name == "images/pxeboot/vmlinuz") {
			t.Errorf("%s: promised by %q", e.Name, e.PromisedBy)
		}
	}
	o.Chosen, o.Take = true, func(n string) bool { return strings.HasSuffix(n, ".iso") }
	if got := show(t, open(t, o)); got != "images/boot.iso=iso" {
		t.Errorf("chosen: %s", got)
	}
	files["/os/images/pxeboot/vmlinuz"] = "K"
	o.Chosen, o.Take = false, nil
	if _, err := Open(t.Context(), o); exitCode(err) != 3 || !strings.Contains(err.Error(), ".treeinfo") {
		t.Errorf("error %v", err)
	}
	files["/os/.treeinfo"] = "[images-x86_64]\nkernel = ../../etc/passwd\n"
	if _, err := Open(t.Context(), o); exitCode(err) != 3 {
		t.Errorf("a path that leads out: %v", err)
	}
}

// TestSums takes Debian's installer for the network by its list of checksums.
func TestSums(t *testing.T) {
	sums := ""
	files := map[string]string{}
	for _, n := range []string{"netboot/debian-installer/arm64/linux", "netboot/gtk/debian-installer/arm64/linux", "netboot/mini.iso", "cdrom/vmlinuz"} {
		sums += hexSum(n) + "  ./" + n + "\n"
		files["/images/"+n] = n
	}
	files["/images/SHA256SUMS"] = sums
	url := serve(t, files)
	for _, dir := range []string{"/images/", "/images/netboot/"} {
		s := open(t, Options{Sources: []string{url + dir}, PlainHTTP: true})
		if got := show(t, s); got != "debian-installer/arm64/linux=netboot/debian-installer/arm64/linux" {
			t.Errorf("%s: got %s", dir, got)
		}
		if got := says(s); got != "platform=linux/arm64 os.name=debian" {
			t.Errorf("says %s", got)
		}
	}
	files["/images/SHA256SUMS"] = "<html>"
	if _, err := Open(t.Context(), Options{Sources: []string{url + "/images/"}, PlainHTTP: true}); exitCode(err) != 3 {
		t.Errorf("error %v", err)
	}
}

// TestBrokenDownload takes up a download where it broke, and starts anew if the
// file is another one meanwhile.
func TestBrokenDownload(t *testing.T) {
	body := []byte(strings.Repeat("0123456789abcdef", 64<<10))
	for name, etag := range map[string]func(n int) string{
		"same":    func(int) string { return `"one"` },
		"changed": func(n int) string { return fmt.Sprintf(`"%d"`, min(n, 3)) },
		"none":    func(int) string { return "" },
		"weak":    func(int) string { return `W/"one"` },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			requests, ranges := 0, 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				requests++
				if r.Header.Get("Range") != "" {
					ranges++
				}
				if e := etag(requests); e != "" {
					w.Header().Set("ETag", e)
				}
				if requests == 1 {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				if requests < 4 {
					w = &cutWriter{w, 300 << 10}
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			}))
			defer srv.Close()
			sp := &spool{dir: t.TempDir()}
			defer sp.close()
			web := newWeb(&Options{})
			web.sleep = func(context.Context, time.Duration) error { return nil }
			p, sum, err := web.fetch(t.Context(), srv.URL, sp, 1<<30)
			if err != nil || sum != hexSum(string(body)) || p.size != int64(len(body)) {
				t.Fatalf("%d bytes, %s, %v", p.size, sum, err)
			}
			if (ranges > 0) != (name == "same" || name == "changed") {
				t.Errorf("%d requests, %d for a part", requests, ranges)
			}
			if _, _, err := web.fetch(t.Context(), srv.URL, sp, 1000); exitCode(err) != 3 {
				t.Errorf("too large: %v", err)
			}
		})
	}
}

// cutWriter breaks the connection after so many bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// TestRedirect does not leave TLS.
func TestRedirect(t *testing.T) {
	plain := serve(t, map[string]string{"/x": "1"})
	srv := httptest.NewTLSServer(http.RedirectHandler(plain+"/x", http.StatusFound))
	defer srv.Close()
	sp := &spool{dir: t.TempDir()}
	defer sp.close()
	web := newWeb(&Options{})
	web.sleep = func(context.Context, time.Duration) error { return nil }
	if _, _, err := web.fetch(t.Context(), srv.URL, sp, 10); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	redirect := web.client.CheckRedirect
	web.client = srv.Client()
	web.client.CheckRedirect = redirect
	if _, _, err := web.fetch(t.Context(), srv.URL, sp, 10); err == nil || !strings.Contains(err.Error(), "redirected from https") {
		t.Errorf("error %v", err)
	}
}
