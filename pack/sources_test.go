package pack

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// tarTree makes a tar archive of a directory.
func tarTree(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func xzOf(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func debOf(t *testing.T, control string, data []byte) []byte {
	t.Helper()
	ctl := writeTree(t, t.TempDir(), "control="+control)
	b := bytes.NewBufferString("!<arch>\n")
	for _, m := range []struct {
		name string
		b    []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar", tarTree(t, ctl)}, {"data.tar.xz", xzOf(t, data)}} {
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, 0, 0, 0, "100644", len(m.b), m.b)
		if len(m.b)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// TestSameDigest packs the same files from every kind of source.
func TestSameDigest(t *testing.T) {
	dir := writeTree(t, t.TempDir(), bootTree()...)
	data := tarTree(t, dir)
	files := map[string][]byte{"a.tar": data, "a.tar.xz": xzOf(t, data), "a.deb": debOf(t, "Package: x\nVersion: 1\nArchitecture: amd64\n", data)}
	at := t.TempDir()
	o := amd64(dir)
	layout, want := buildInto(t, o)
	sources := map[string]string{"image": layout.String()}
	for name, b := range files {
		sources[name] = filepath.Join(at, name)
		if err := os.WriteFile(sources[name], b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, source := range sources {
		o := Options{Sources: []string{source}, OSName: "test", OSVersion: "1", Client: newClient(t)}
		if name != "a.deb" && name != "image" { // these say it
			o.Platform = amd64().Platform
		}
		if name == "image" {
			o.OSName, o.OSVersion = "", ""
		}
		if _, got := buildInto(t, o); got.Digest != want.Digest {
			t.Errorf("%s: digest %s, that of the directory is %s", name, got.Digest, want.Digest)
		}
	}
}

// TestDeduced takes from the sources what the user leaves open.
func TestDeduced(t *testing.T) {
	const info = ".treeinfo=[release]\nname = Fedora\nversion = 42\n[tree]\narch = aarch64\n"
	pe := func(machine string) string { // a PE header, as far as it is read
		return "MZ" + strings.Repeat("\x00", 58) + "\x40\x00\x00\x00PE\x00\x00" + machine
	}
	for _, tc := range []struct {
		name string
		tree []string
		set  func(*Options)
		want string
		code int
		text string
	}{
		{"everything", []string{info, "x"}, func(*Options) {}, "linux/arm64 fedora 42", 0, ""},
		{"the user's words count", []string{info, "x"}, func(o *Options) { o.OSName = "mine" }, "linux/arm64 mine 42", 0, `--os-name is "mine"`},
		{"another machine", []string{info, "x"}, func(o *Options) { o.Platform = amd64().Platform }, "", 3, "linux/arm64"},
		{"nobody knows", []string{"x"}, func(*Options) {}, "", 2, "--platform is required: the sources do not say it"},
		{"machine of programs", []string{"grubx64.efi=" + pe("\x64\x86"), "bootia32.efi=" + pe("\x4c\x01"), "x.efi=text"}, func(*Options) {}, "linux/amd64  ", 0, ""},
		{"machines differ", []string{"a.efi=" + pe("\x64\x86"), "b.efi=" + pe("\x64\xaa")}, func(*Options) {}, "", 2, "linux/arm64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var said strings.Builder
			o := Options{Sources: []string{writeTree(t, t.TempDir(), tc.tree...)}, Log: func(f string, a ...any) { fmt.Fprintf(&said, f, a...) }}
			tc.set(&o)
			plan, err := Scan(t.Context(), o)
			if tc.code != 0 {
				if exitCode(err) != tc.code || !strings.Contains(err.Error(), tc.text) || hint(err) == "" {
					t.Fatalf("code %d, error %v", exitCode(err), err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer plan.Close()
			if got := plan.Platform + " " + plan.OSName + " " + plan.OSVersion; got != tc.want || !strings.Contains(said.String(), tc.text) {
				t.Errorf("got %s, said %q", got, said.String())
			}
		})
	}
}

// TestToTop puts everything at the top.
func TestToTop(t *testing.T) {
	o := amd64(writeTree(t, t.TempDir(), "a/b/shimx64.efi", "a/c/vmlinuz", "a/c/other -> vmlinuz", "vmlinuz -> a/c/vmlinuz", "d -> a/c", "e/"))
	o.Flatten = true
	plan, err := Scan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if got := strings.Join(plan.paths(), " "); got != "other -> vmlinuz shimx64.efi vmlinuz BOOT -> shimx64.efi" {
		t.Errorf("got %s", got)
	}
	o.Sources = []string{writeTree(t, t.TempDir(), "a/x=1", "b/x=2")}
	if _, err := Scan(t.Context(), o); exitCode(err) != 3 || !strings.Contains(err.Error(), `"a/x"`) {
		t.Errorf("error %v", err)
	}
}

// TestDebianPackages packs the real packages of Debian's installer, if they are
// in the directory that NBPACK_TEST_DEBS names (apt-get download puts them there).
func TestDebianPackages(t *testing.T) {
	for arch, want := range map[string]string{
		"amd64":   "linux/amd64 debian-installer/amd64/bootnetx64.efi debian-installer/amd64/grubx64.efi debian-installer/amd64/pxelinux.0",
		"arm64":   "linux/arm64 debian-installer/arm64/bootnetaa64.efi debian-installer/arm64/grubaa64.efi ",
		"armhf":   "linux/arm/v7   ",
		"ppc64el": "linux/ppc64le   ",
	} {
		t.Run(arch, func(t *testing.T) {
			plan, err := Scan(t.Context(), Options{Sources: []string{testneed.Deb(t, "debian-installer-12-netboot-"+arch)}})
			if err != nil {
				t.Fatal(err)
			}
			defer plan.Close()
			got := []string{plan.Platform}
			for _, l := range spec.EntryLinks() {
				got = append(got, plan.Labels[l.Label])
			}
			if strings.Join(got, " ") != want || plan.OSName != "debian" || plan.OSVersion != "12" {
				t.Errorf("got %q, os %q %q", got, plan.OSName, plan.OSVersion)
			}
			for _, e := range plan.paths() {
				if strings.HasPrefix(e, "usr") || strings.Contains(e, "gtk") {
					t.Errorf("has %s", e)
				}
			}
			if arch != "ppc64el" { // one is enough to be packed
				return
			}
			dst := transport.Reference{Transport: transport.OCI, Name: filepath.Join(t.TempDir(), "layout"), Tag: "x"}
			if _, err := Build(t.Context(), newClient(t), plan, dst); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("loaders", func(t *testing.T) {
		plan, err := Scan(t.Context(), Options{Sources: []string{testneed.Deb(t, "shim-signed"), testneed.Deb(t, "grub-efi-amd64-signed"), testneed.Deb(t, "pxelinux")}})
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Close()
		if got := strings.Join(plan.paths(), " "); got != "grubx64.efi pxelinux.0 shimx64.efi BOOT -> shimx64.efi BOOTA -> grubx64.efi BOOTL -> pxelinux.0" {
			t.Errorf("got %s", got)
		}
	})
}
