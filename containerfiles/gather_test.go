package containerfiles_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sum(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

func TestTreeinfoCheck(t *testing.T) {
	need(t, "awk", "sha256sum")
	good := "sha256:" + sum("a kernel")
	tests := []struct {
		name, treeinfo, path, complaint string
	}{
		{"good", "[checksums]\nimages/vmlinuz = " + good + "\n", "images/vmlinuz", ""},
		{"no spaces, CRLF", "[checksums]\r\nimages/vmlinuz=" + good + "\r\n", "images/vmlinuz", ""},
		{"other content", "[checksums]\nimages/vmlinuz = sha256:" + sum("another") + "\n", "images/vmlinuz", "differs"},
		{"not listed", "[checksums]\nimages/other = " + good + "\n", "images/vmlinuz", "no checksum"},
		{"listed elsewhere", "[checksums]\n[stage2]\nimages/vmlinuz = " + good + "\n", "images/vmlinuz", "no checksum"},
		{"key is no pattern", "[checksums]\nimagesXvmlinuz = " + good + "\n", "images.vmlinuz", "no checksum"},
		{"weak", "[checksums]\nimages/vmlinuz = md5:" + sum("a kernel")[:32] + "\n", "images/vmlinuz", "not a SHA-256"},
		{"cut", "[checksums]\nimages/vmlinuz = " + good[:40] + "\n", "images/vmlinuz", "differs"},
		{"file missing", "[checksums]\nimages/gone = " + good + "\n", "images/gone", "differs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, filepath.Join(dir, ".treeinfo"), test.treeinfo)
			writeFile(t, filepath.Join(dir, "images/vmlinuz"), "a kernel")
			_, errs, err := try(t, nil, "gather/treeinfo", "check", filepath.Join(dir, ".treeinfo"), dir, test.path)
			checkComplaint(t, test.complaint, errs, err)
		})
	}
}

func checkComplaint(t *testing.T, want string, stderr []byte, err error) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%v: %s", err, stderr)
	case want != "" && (err == nil || !strings.Contains(string(stderr), want)):
		t.Errorf("want a complaint with %q, got %v: %s", want, err, stderr)
	}
}

func TestFinish(t *testing.T) {
	need(t, "sha256sum")
	t.Run("good", func(t *testing.T) {
		out := t.TempDir()
		writeFile(t, out+"/payload/a/shimx64.efi", "shim")
		writeFile(t, out+"/payload/a b", "blank")
		then := time.Unix(1000000000, 0)
		if err := os.Chtimes(out+"/payload/a b", then, then); err != nil {
			t.Fatal(err)
		}
		command(t, "gather/finish", out, "a/shimx64.efi")
		got, err := os.ReadFile(out + "/SHA256SUM")
		if err != nil {
			t.Fatal(err)
		}
		if want := sum("blank") + "  a b\n" + sum("shim") + "  a/shimx64.efi\n"; string(got) != want {
			t.Errorf("SHA256SUM is\n%swant\n%s", got, want)
		}
		if target, err := os.Readlink(out + "/payload/a/BOOT"); target != "shimx64.efi" {
			t.Errorf("BOOT leads to %q, %v", target, err)
		}
		info, err := os.Stat(out + "/payload/a b")
		if err != nil || !info.ModTime().Equal(then) || info.Mode() != 0o444 {
			t.Errorf("upstream's file became %v, %v", info, err)
		}
	})
	for name, test := range map[string]struct{ file, entry, complaint string }{
		"entrypoint missing": {"vmlinuz", "shimx64.efi", "no shimx64.efi"},
		"own list":           {"SHA256SUM", "", "SHA256SUM of its own"},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			writeFile(t, filepath.Join(out, "payload", test.file), "x")
			_, errs, err := try(t, nil, "gather/finish", out, test.entry)
			checkComplaint(t, test.complaint, errs, err)
		})
	}
}

// The tree of a machine without shim comes without packages, so the whole script
// runs here, on a mirror in a directory.
func TestRPMFamily(t *testing.T) {
	need(t, "awk", "curl", "sha256sum")
	tests := []struct{ name, kernel, initrd, path, complaint string }{
		{"good", "a kernel", "an initrd", "ppc/ppc64/vmlinuz", ""},
		{"damaged kernel", "a kernel!", "an initrd", "ppc/ppc64/vmlinuz", "differs"},
		{"damaged initrd", "a kernel", "", "ppc/ppc64/vmlinuz", "differs"},
		{"path out of the tree", "a kernel", "an initrd", "../vmlinuz", "outside"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mirror := t.TempDir()
			writeFile(t, filepath.Join(mirror, "ppc/ppc64/vmlinuz"), test.kernel)
			writeFile(t, filepath.Join(mirror, "ppc/ppc64/initrd.img"), test.initrd)
			writeFile(t, filepath.Join(mirror, ".treeinfo"), "[checksums]\n"+
				"ppc/ppc64/vmlinuz = sha256:"+sum("a kernel")+"\n"+
				"ppc/ppc64/initrd.img = sha256:"+sum("an initrd")+"\n"+
				"[images-ppc64le]\ninitrd = ppc/ppc64/initrd.img\nkernel = "+test.path+"\n")
			out := filepath.Join(t.TempDir(), "out")
			_, errs, err := try(t, []string{"TARGETARCH=ppc64le", "MIRROR=file://" + mirror}, "gather/rpm-family", "fedora", out)
			checkComplaint(t, test.complaint, errs, err)
			if _, err := os.Stat(out + "/SHA256SUM"); (err == nil) != (test.complaint == "") {
				t.Errorf("finished: %v", err == nil)
			}
		})
	}
}

// TestUbuntu runs the whole script on a mirror in a directory, signed by a key
// made for the test.
func TestUbuntu(t *testing.T) {
	need(t, "curl", "gpg", "gpgv", "tar", "sha256sum")
	home := t.TempDir()
	gpg := func(args ...string) {
		t.Helper()
		command(t, "gpg", append([]string{"--homedir", home, "--batch", "-q", "--passphrase", ""}, args...)...)
	}
	t.Cleanup(func() { try(t, nil, "gpgconf", "--homedir", home, "--kill", "all") })
	gpg("--quick-generate-key", "Signer <signer@example.org>", "ed25519", "sign", "never")
	gpg("--quick-generate-key", "Stranger <stranger@example.org>", "ed25519", "sign", "never")
	keyring := filepath.Join(t.TempDir(), "keyring.gpg")
	gpg("--output", keyring, "--export", "signer@example.org")

	tree := t.TempDir()
	for _, name := range []string{"bootx64.efi", "grubx64.efi", "pxelinux.0", "linux", "initrd"} {
		writeFile(t, filepath.Join(tree, "amd64", name), "this is "+name)
	}
	const tarball = "ubuntu-24.04.9-netboot-amd64.tar.gz"
	tests := []struct {
		name, signer, complaint string
		damage                  func(t *testing.T, mirror string)
	}{
		{"good", "signer", "", func(*testing.T, string) {}},
		{"signed by a stranger", "stranger", "no good signature", func(*testing.T, string) {}},
		{"list changed", "signer", "no good signature", func(t *testing.T, mirror string) {
			writeFile(t, mirror+"/SHA256SUMS", sum("evil")+" *"+tarball+"\n")
		}},
		{"tarball changed", "signer", "differs", func(t *testing.T, mirror string) {
			writeFile(t, filepath.Join(mirror, tarball), "evil")
		}},
		{"tarball gone", "signer", "cannot get", func(t *testing.T, mirror string) {
			if err := os.Remove(filepath.Join(mirror, tarball)); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			mirror := t.TempDir()
			command(t, "tar", "-C", tree, "-czf", filepath.Join(mirror, tarball), "./amd64")
			b, err := os.ReadFile(filepath.Join(mirror, tarball))
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, mirror+"/SHA256SUMS", sum("old")+" *ubuntu-24.04.1-netboot-amd64.tar.gz\n"+
				sum("other")+" *ubuntu-24.04.9-live-server-amd64.iso\n"+sum(string(b))+" *"+tarball+"\n")
			gpg("-u", test.signer+"@example.org", "--detach-sign", "--output", mirror+"/SHA256SUMS.gpg", mirror+"/SHA256SUMS")
			test.damage(t, mirror)
			env := []string{"TARGETARCH=amd64", "MIRROR=file://" + mirror, "KEYRING=" + keyring}
			out := filepath.Join(t.TempDir(), "out")
			_, errs, err := try(t, env, "gather/ubuntu", "24.04", out)
			checkComplaint(t, test.complaint, errs, err)
			if target, _ := os.Readlink(out + "/payload/amd64/BOOT"); (target == "bootx64.efi") != (test.complaint == "") {
				t.Errorf("BOOT leads to %q", target)
			}
		})
	}
}

// Every script refuses a platform for which it has nothing.
func TestUnknownPlatforms(t *testing.T) {
	for script, arg := range map[string]string{"rpm-family": "fedora", "debian": "12", "ubuntu": "24.04", "opensuse": "openSUSE-Leap-15.6"} {
		_, errs, err := try(t, []string{"TARGETARCH=m68k", "TARGETVARIANT="}, "gather/"+script, arg, filepath.Join(t.TempDir(), "out"))
		checkComplaint(t, `no boot files for "m68k"`, errs, err)
	}
}
