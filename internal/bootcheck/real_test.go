package bootcheck

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/spec"
)

// debian are the installer's packages, which .ci/run fetches, with the names of
// their files.
var debian = []struct {
	arch, platform, kernel, modules string
	labels                          map[string]string
}{
	{"amd64", "amd64", "linux", "-amd64", map[string]string{
		spec.LabelEntrypoint: "bootnetx64.efi", spec.LabelAltEntrypoint: "grubx64.efi", spec.LabelLegacyEntrypoint: "pxelinux.0"}},
	{"arm64", "arm64", "linux", "-arm64", map[string]string{
		spec.LabelEntrypoint: "bootnetaa64.efi", spec.LabelAltEntrypoint: "grubaa64.efi"}},
	{"ppc64el", "ppc64le", "vmlinux", "-powerpc64le", nil},
	{"armhf", "arm", "vmlinuz", "", nil},
}

// netboot hands the files of the text installer in a Debian package to use, with
// their names below debian-installer/ARCH.
func netboot(t *testing.T, arch string, use func(h *tar.Header, name string, r io.Reader)) {
	t.Helper()
	packages(t, "debian-installer-12-netboot-"+arch, func(h *tar.Header, r io.Reader) {
		if _, name, ok := strings.Cut(h.Name, "/text/debian-installer/"+arch+"/"); ok && name != "" {
			use(h, name, r)
		}
	})
}

// packages hands the files of a Debian package to use; name may be a glob.
func packages(t *testing.T, name string, use func(h *tar.Header, r io.Reader)) {
	t.Helper()
	deb := testneed.Deb(t, name)
	testneed.Tool(t, "dpkg-deb")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := tar.NewReader(out)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		use(h, in)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestDebian looks at the real installers of four architectures.
func TestDebian(t *testing.T) {
	for _, tc := range debian {
		t.Run(tc.arch, func(t *testing.T) {
			labels := map[string]string{spec.LabelOSName: "debian", spec.LabelOSVersion: "12", spec.LabelOSArch: tc.platform}
			for k, v := range tc.labels {
				labels[k] = v
			}
			c := New(Options{Platform: spec.Platform{OS: "linux", Architecture: tc.platform}, Labels: labels, Modes: true})
			var entries []spec.Entry
			netboot(t, tc.arch, func(h *tar.Header, name string, r io.Reader) {
				e := spec.Entry{Path: strings.TrimSuffix(name, "/"), Type: spec.TypeFile, Mode: uint32(h.Mode)}
				switch h.Typeflag {
				case tar.TypeDir:
					e.Type = spec.TypeDir
				case tar.TypeSymlink:
					e.Type = spec.TypeSymlink
				default:
					look(t, c, e.Path, r)
				}
				entries = append(entries, e)
			})
			found := c.Findings(entries)
			paired := tc.modules == "" // the arm kernel does not show its version
			for _, v := range found {
				t.Logf("%s %s %q: %s", v.Severity, v.Rule, v.Path, v.Message)
				if v.Severity != SeverityInfo {
					t.Errorf("a good set has %+v", v)
				}
				if v.Rule == RuleKernelVersion && v.Path == tc.kernel && strings.Contains(v.Message, "initrd.gz") && strings.Contains(v.Message, tc.modules) {
					paired = true
				}
			}
			if !paired {
				t.Errorf("kernel and initrd were not compared")
			}
		})
	}
}

// TestDebianOtherBuild puts the kernel of another build beside the installer's
// initrd.
func TestDebianOtherBuild(t *testing.T) {
	c := New(Options{Platform: spec.Platform{OS: "linux", Architecture: "amd64"}})
	netboot(t, "amd64", func(_ *tar.Header, name string, r io.Reader) {
		if name == "initrd.gz" {
			look(t, c, name, r)
		}
	})
	packages(t, "linux-image-6.1.0-*-amd64", func(h *tar.Header, r io.Reader) {
		if strings.HasPrefix(h.Name, "./boot/vmlinuz-") {
			look(t, c, "linux", r)
		}
	})
	got := rules(c.Findings(nil), false)
	if want := []string{"kernel-initrd initrd.gz", "kernel-unpaired linux"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// look lets a checker read a file.
func look(t *testing.T, c *Checker, path string, r io.Reader) {
	t.Helper()
	p := c.File(path)
	_, err := io.Copy(p, r)
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
}
