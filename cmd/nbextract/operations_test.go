package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
)

// blocks gives the code blocks of the page in one language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range regexp.MustCompile("(?ms)^ *```"+language+"\n(.*?)^ *```$").FindAllStringSubmatch(string(b), -1) {
		list = append(list, m[1])
	}
	if len(list) == 0 {
		t.Fatalf("no block in %s", language)
	}
	return list
}

// TestOperationsCommands: a shell reads each command line of the page, and
// nbextract the flags of its own.
func TestOperationsCommands(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"nbextract": "#!/bin/sh\nfor a; do printf '%s\\0' \"$a\"; done\nprintf '\\1'\n"})
	if err := os.Chmod(filepath.Join(dir, "nbextract"), 0o755); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, block := range blocks(t, "sh") {
		for _, line := range strings.Split(strings.ReplaceAll(block, "\\\n", " "), "\n") {
			if !strings.HasPrefix(line, "nbextract ") {
				continue
			}
			cmd := exec.Command("/bin/sh", "-c", line)
			cmd.Env = []string{"PATH=" + dir}
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			args, _, _ := strings.Cut(string(out), "\x01")
			parses(t, strings.Split(strings.TrimSuffix(args, "\x00"), "\x00"))
			n++
		}
	}
	if n < 4 {
		t.Errorf("%d command lines", n)
	}
}

// TestOperationsCatalogues: sync takes what the page shows of catalogues.
func TestOperationsCatalogues(t *testing.T) {
	for _, block := range blocks(t, "yaml") {
		if strings.HasPrefix(block, "proxy:") {
			continue // of docker-registry
		}
		if !strings.Contains(block, "images:") {
			block += "destination: /d\nimages: [{ref: 'registry.example/n:v'}]\n"
		}
		_, entries, err := catalog.Parse("catalog.yaml", "c", []byte(block))
		if err == nil {
			err = catalogrun.Check(entries, catalogrun.Options{MakeHooks: func(*catalog.Hooks) (extract.Hooks, error) { return nil, nil }})
		}
		if err != nil {
			t.Errorf("%s\n%v", block, err)
		}
	}
}

// TestAlertRules: rules ask for metrics that there are.
func TestAlertRules(t *testing.T) {
	text := readDeploy(t, "alerts.yaml")
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &rules); err != nil || len(rules.Groups) != 1 {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules.Groups[0].Rules {
		names := regexp.MustCompile(`nbextract_(\w+)`).FindAllStringSubmatch(r.Expr, -1)
		if len(names) == 0 {
			t.Errorf("%s asks for nothing", r.Alert)
		}
		for _, n := range names {
			if !bytes.Contains(page, []byte("`"+n[1]+"`")) {
				t.Errorf("%s asks for %s, which the page does not know", r.Alert, n[0])
			}
		}
	}
}

// TestDnsmasqRecipe asks dnsmasq.
func TestDnsmasqRecipe(t *testing.T) {
	testneed.Tool(t, "dnsmasq")
	out, err := exec.Command("dnsmasq", "--test", "-C", filepath.Join(deployDir, "dnsmasq.conf")).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestNginxRecipe serves a tree as the page says, and asks as firmware does.
func TestNginxRecipe(t *testing.T) {
	tree, work := t.TempDir(), t.TempDir()
	writeTree(t, tree, bootFiles())
	boot := filepath.Join(work, "boot")
	layout := "oci:" + filepath.Join(work, "image") + ":v"
	build(t, nbpackPath(t), tree, layout)
	must(t, "pull", layout, "-d", boot)
	base := "http://" + testserver.Nginx(t, strings.ReplaceAll(readDeploy(t, "nginx.conf"), "/var/lib/tftpboot", boot))
	generations, err := filepath.Glob(filepath.Join(boot, "by-digest", "*"))
	if err != nil || len(generations) != 1 {
		t.Fatal(generations, err)
	}
	for _, tt := range []struct {
		path, kind, cache string
		code              int
	}{
		{"/d/1/amd64/efi/BOOT", "application/efi", "", 200},
		{"/d/1/amd64//efi//BOOT", "application/efi", "", 200}, // shim doubles slashes
		{"/d/1/amd64/efi/BOOT.efi", "application/efi", "", 200},
		{"/d/1/amd64/vmlinuz", "application/octet-stream", "", 200},
		{"/by-digest/" + filepath.Base(generations[0]) + "/vmlinuz", "application/octet-stream", "immutable", 200},
		{"/.nbextract/sync.json", "text/html", "", 404},
		{"/d/1/amd64/none", "text/html", "", 404},
	} {
		resp, err := http.Head(base + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != tt.code || tt.code == 200 && h.Get("Content-Type") != tt.kind || !strings.Contains(h.Get("Cache-Control"), tt.cache) ||
			tt.code == 200 && resp.ContentLength <= 0 {
			t.Errorf("%s: %s, %d bytes, %v", tt.path, resp.Status, resp.ContentLength, h)
		}
	}
}

// TestOwnerModesLabel: the catalogue of the page with all three; a label is an extended
// attribute on any kernel. What an update keeps keeps them, and so does a rollback.
func TestOwnerModesLabel(t *testing.T) {
	var block string
	for _, b := range blocks(t, "yaml") {
		if strings.Contains(b, "selinux-label") {
			block = strings.Replace(b, "tftp:tftp ", fmt.Sprintf("%d:%d ", os.Getuid(), os.Getgid()), 1)
		}
	}
	const label = "system_u:object_r:tftpdir_t:s0"
	work := t.TempDir()
	if out, err := exec.Command("chcon", label, work).CombinedOutput(); err != nil {
		t.Skipf("chcon does not work here: %v %s", err, out)
	}
	tree, boot, layout := t.TempDir(), filepath.Join(work, "boot"), "oci:"+filepath.Join(work, "image")+":v"
	writeTree(t, work, map[string]string{"c.yaml": "destination: " + boot + "\nimages: [{ref: '" + layout + "'}]\n" + block})
	files := bootFiles()
	for _, kernel := range []string{"one", "two"} {
		files["vmlinuz"] = kernel
		writeTree(t, tree, files)
		build(t, nbpackPath(t), tree, layout)
		must(t, "sync", "-c", filepath.Join(work, "c.yaml"))
		if r := syncJSON(t, 0, work, "c"); r.Unchanged != 1 {
			t.Errorf("once more: %+v", r)
		}
	}
	must(t, "rollback", "-d", boot)
	must(t, "verify", "-d", boot)
	for name := range files {
		got := make([]byte, 100)
		n, err := unix.Lgetxattr(filepath.Join(boot, "d/1/amd64", name), "security.selinux", got)
		if err != nil || strings.TrimRight(string(got[:max(n, 0)]), "\x00") != label {
			t.Errorf("%s has the label %q, %v", name, got[:max(n, 0)], err)
		}
		if st, err := os.Lstat(filepath.Join(boot, "d/1/amd64", name)); err != nil || st.Mode() != 0o440 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}
