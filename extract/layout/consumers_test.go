package layout

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

// image makes the entries of a tree: "path", or "path -> target" for a link.
func image(paths ...string) []spec.Entry {
	all := map[string]spec.Entry{}
	for _, p := range paths {
		e := spec.Entry{Type: spec.TypeFile, Size: int64(len(p)), SHA256: fmt.Sprintf("%064x", len(p))}
		if name, target, ok := strings.Cut(p, " -> "); ok {
			e, p = spec.Entry{Type: spec.TypeSymlink, Target: target}, name
		}
		e.Path = p
		all[p] = e
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			all[dir] = spec.Entry{Path: dir, Type: spec.TypeDir}
		}
	}
	var list []spec.Entry
	for _, p := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[p])
	}
	return list
}

func withEntrypoints(labels map[string]string, first, second, legacy string) map[string]string {
	labels[spec.LabelEntrypoint], labels[spec.LabelAltEntrypoint], labels[spec.LabelLegacyEntrypoint] = first, second, legacy
	for k, v := range labels {
		if v == "" {
			delete(labels, k)
		}
	}
	return labels
}

// debianImage is what nbpack makes of Debian's package of the installer.
func debianImage(arch, efi string) ([]spec.Entry, map[string]string) {
	d := "debian-installer/" + arch + "/"
	files := []string{d + "linux", d + "initrd.gz", d + "bootnet" + efi + ".efi", d + "grub" + efi + ".efi", d + "grub/grub.cfg",
		d + "BOOT -> bootnet" + efi + ".efi", d + "BOOT.efi -> bootnet" + efi + ".efi", d + "BOOTA -> grub" + efi + ".efi", "version.info", "SHA256SUM"}
	legacy := ""
	if arch == "amd64" {
		legacy = d + "pxelinux.0"
		files = append(files, d+"pxelinux.0", d+"boot-screens/ldlinux.c32", d+"boot-screens/syslinux.cfg", d+"pxelinux.cfg/default -> ../boot-screens/syslinux.cfg",
			"pxelinux.0 -> "+d+"pxelinux.0", "pxelinux.cfg -> "+d+"pxelinux.cfg", "ldlinux.c32 -> "+d+"boot-screens/ldlinux.c32")
	}
	return image(files...), withEntrypoints(labelled("debian", "12", arch), d+"bootnet"+efi+".efi", d+"grub"+efi+".efi", legacy)
}

func ubuntuImage() ([]spec.Entry, map[string]string) {
	return image("amd64/linux", "amd64/initrd", "amd64/bootx64.efi", "amd64/grubx64.efi", "amd64/pxelinux.0", "amd64/ldlinux.c32",
			"amd64/pxelinux.cfg/default", "grub/grub.cfg", "pxelinux.0 -> amd64/pxelinux.0", "SHA256SUM", "amd64/BOOT -> bootx64.efi"),
		withEntrypoints(labelled("ubuntu", "26.04", "amd64"), "amd64/bootx64.efi", "amd64/grubx64.efi", "amd64/pxelinux.0")
}

func fedoraImage(arch, efi string) ([]spec.Entry, map[string]string) {
	return image("vmlinuz", "initrd.img", "shim"+efi+".efi", "grub"+efi+".efi", "mm"+efi+".efi", "install.img", "SHA256SUM",
			"BOOT -> shim"+efi+".efi", "BOOT.efi -> shim"+efi+".efi", "BOOTA -> grub"+efi+".efi", "BOOTA.efi -> grub"+efi+".efi"),
		withEntrypoints(labelled("fedora", "42", arch), "shim"+efi+".efi", "grub"+efi+".efi", "")
}

// TestConsumers encodes what each consumer asks for: paths below the boot directory
// and the file of the image that it must get there. "!" before a path: it must be a
// regular file; "-": nothing may be there.
func TestConsumers(t *testing.T) {
	type lookup map[string]string
	for _, tc := range []struct {
		layout, source string // where it is said what is asked for
		image          func() ([]spec.Entry, map[string]string)
		want           lookup
	}{
		{"nboci", "osbuild/nboci pkg/nboci/pull.go makePath: os.name/os.version/os.arch; links of the entrypoints beside them",
			func() ([]spec.Entry, map[string]string) { return fedoraImage("amd64", "x64") },
			lookup{"fedora/42/x86_64/vmlinuz": "vmlinuz", "fedora/42/x86_64/boot": "shimx64.efi", "fedora/42/x86_64/boot-alt": "grubx64.efi",
				"fedora/42/x86_64/boot.efi": "shimx64.efi", "fedora/42/x86_64/BOOT": "-", "fedora/42/x86_64/grubx64.efi": "grubx64.efi"}},
		{"foreman", "theforeman/smart-proxy modules/tftp/server.rb (bootloader universe, pull requests 877 and 958): no links but boot.efi and boot-sb.efi; Red Hat's names",
			func() ([]spec.Entry, map[string]string) { return fedoraImage("arm64", "aa64") },
			lookup{"!bootloader-universe/pxegrub2/fedora/42/aarch64/grubaa64.efi": "grubaa64.efi", "!bootloader-universe/pxegrub2/fedora/42/aarch64/shimaa64.efi": "shimaa64.efi",
				"bootloader-universe/pxegrub2/fedora/42/aarch64/boot.efi": "grubaa64.efi", "bootloader-universe/pxegrub2/fedora/42/aarch64/boot-sb.efi": "shimaa64.efi",
				"!bootloader-universe/pxegrub2/fedora/42/aarch64/vmlinuz": "vmlinuz", "!bootloader-universe/pxegrub2/fedora/42/aarch64/initrd.img": "initrd.img",
				"!bootloader-universe/pxegrub2/fedora/42/aarch64/mmaa64.efi": "mmaa64.efi", "bootloader-universe/pxegrub2/fedora/42/aarch64/BOOT.efi": "-"}},
		{"foreman", "the same, names of Debian",
			func() ([]spec.Entry, map[string]string) { return debianImage("amd64", "x64") },
			lookup{"!bootloader-universe/pxegrub2/debian/12/x86_64/shimx64.efi": "debian-installer/amd64/bootnetx64.efi",
				"!bootloader-universe/pxegrub2/debian/12/x86_64/grubx64.efi": "debian-installer/amd64/grubx64.efi",
				"!bootloader-universe/pxegrub2/debian/12/x86_64/linux":       "debian-installer/amd64/linux",
				"!bootloader-universe/pxegrub2/debian/12/x86_64/initrd.gz":   "debian-installer/amd64/initrd.gz",
				"bootloader-universe/pxegrub2/debian/12/x86_64/boot-sb.efi":  "debian-installer/amd64/bootnetx64.efi"}},
		{"foreman", "the same, Ubuntu's initrd under the name of the family",
			ubuntuImage, lookup{"!bootloader-universe/pxegrub2/ubuntu/26.04/x86_64/initrd.gz": "amd64/initrd", "!bootloader-universe/pxegrub2/ubuntu/26.04/x86_64/linux": "amd64/linux"}},
		{"cobbler", "cobbler/cobbler tftpgen.py copy_bootloaders: the directory of loaders with rsync --copy-links; DHCP template: grub/grubx64.efi, pxelinux.0",
			func() ([]spec.Entry, map[string]string) { return debianImage("amd64", "x64") },
			lookup{"!grub/grubx64.efi": "debian-installer/amd64/grubx64.efi", "!grub/shim.efi": "debian-installer/amd64/bootnetx64.efi",
				"!shim.efi": "debian-installer/amd64/bootnetx64.efi", "!grubx64.efi": "debian-installer/amd64/grubx64.efi",
				"!pxelinux.0": "debian-installer/amd64/pxelinux.0", "!ldlinux.c32": "debian-installer/amd64/boot-screens/ldlinux.c32",
				"netboot/debian-12-x86_64/debian-installer/amd64/linux": "debian-installer/amd64/linux"}},
		{"cobbler", "settings: bootloaders_formats, aarch64 is grubaa64.efi",
			func() ([]spec.Entry, map[string]string) { return debianImage("arm64", "aa64") },
			lookup{"!grub/grubaa64.efi": "debian-installer/arm64/grubaa64.efi", "grub/grubx64.efi": "-", "shim.efi": "-", "pxelinux.0": "-"}},
		{"matchbox", "poseidon/matchbox scripts/get-fedora-coreos and get-flatcar: assets/NAME/VERSION with the names of upstream",
			func() ([]spec.Entry, map[string]string) { return fedoraImage("amd64", "x64") },
			lookup{"fedora/42/vmlinuz": "vmlinuz", "fedora/42/initrd.img": "initrd.img"}},
		{"tinkerbell", "tinkerbell/smee internal/ipxe/script (hook): KernelName vmlinuz-ARCH, InitrdName initramfs-ARCH below one URL",
			func() ([]spec.Entry, map[string]string) { return fedoraImage("arm64", "aa64") },
			lookup{"!fedora/42/vmlinuz-aarch64": "vmlinuz", "!fedora/42/initramfs-aarch64": "initrd.img", "fedora/42/aarch64/vmlinuz": "vmlinuz"}},
		{"debian", "netboot.tar.gz, and the prefix in Debian's signed grub: /debian-installer/amd64/grub",
			func() ([]spec.Entry, map[string]string) { return debianImage("amd64", "x64") },
			lookup{"debian-installer/amd64/grub/grub.cfg": "debian-installer/amd64/grub/grub.cfg", "debian-installer/amd64/linux": "debian-installer/amd64/linux",
				"debian-installer/amd64/BOOT": "debian-installer/amd64/bootnetx64.efi", "pxelinux.0": "debian-installer/amd64/pxelinux.0",
				"ldlinux.c32": "debian-installer/amd64/boot-screens/ldlinux.c32", "pxelinux.cfg/default": "debian-installer/amd64/boot-screens/syslinux.cfg", "version.info": "-"}},
		{"debian", "an image of the files alone",
			func() ([]spec.Entry, map[string]string) { e, l := fedoraImage("amd64", "x64"); return e, l },
			lookup{"debian-installer/amd64/vmlinuz": "vmlinuz", "debian-installer/amd64/BOOT": "shimx64.efi"}},
		{"ubuntu", "the netboot archive: a directory for each architecture",
			ubuntuImage, lookup{"amd64/linux": "amd64/linux", "amd64/BOOT": "amd64/bootx64.efi", "amd64/pxelinux.cfg/default": "amd64/pxelinux.cfg/default",
				"pxelinux.0": "amd64/pxelinux.0", "grub/grub.cfg": "-"}},
		{"default", "by-digest has the same", ubuntuImage, lookup{"ubuntu/26.04/amd64/amd64/linux": "amd64/linux", "ubuntu/26.04/amd64/grub/grub.cfg": "grub/grub.cfg"}},
		{"flat", "the image at the top", ubuntuImage, lookup{"amd64/linux": "amd64/linux"}},
	} {
		entries, labels := tc.image()
		got, err := placed(tc.layout, labels, entries)
		if err != nil {
			t.Errorf("%s: %v", tc.layout, err)
			continue
		}
		for p, want := range tc.want {
			p, regular := strings.CutPrefix(p, "!")
			e, target := follow(got, p)
			switch {
			case want == "-" && target == "":
			case target != want && (target != "" || want != "-"):
				t.Errorf("%s (%s): %q is %q, want %q", tc.layout, tc.source, p, target, want)
			case regular && e.Type != spec.TypeFile:
				t.Errorf("%s (%s): %q is a %s, not a regular file", tc.layout, tc.source, p, e.Type)
			}
		}
		if tc.layout == "foreman" {
			for p, e := range got {
				base := path.Base(p)
				if e.Type == spec.TypeSymlink && base != "boot.efi" && base != "boot-sb.efi" {
					t.Errorf("foreman refuses the link %q", p)
				}
			}
		}
	}
}

// placed gives everything that a layout puts into the boot directory, with Target the
// file of the image.
func placed(layout string, labels map[string]string, entries []spec.Entry) (map[string]spec.Entry, error) {
	l, err := Parse(layout)
	if err != nil {
		return nil, err
	}
	at, err := l.Live(labels)
	if err != nil {
		return nil, err
	}
	a, err := l.Arrange(labels, entries, false)
	if err != nil {
		return nil, err
	}
	if a == nil {
		a = &Arrangement{Entries: entries}
	}
	all := map[string]spec.Entry{}
	add := func(root string, list []spec.Entry) {
		for _, e := range list {
			if e.Type == spec.TypeFile && e.Target == "" {
				e.Target = e.Path
			}
			all[path.Join(root, e.Path)] = e
		}
	}
	add(at, a.Entries)
	add(".", a.Beside)
	return all, nil
}

// follow resolves a path as a boot server does, through links to directories, too.
func follow(all map[string]spec.Entry, p string) (found spec.Entry, target string) {
	for range 10 {
		if e, ok := all[p]; ok {
			if found.Type == "" {
				found = e
			}
			if e.Type == spec.TypeFile {
				return found, e.Target
			}
			if e.Type == spec.TypeSymlink {
				p = path.Join(path.Dir(p), e.Target)
				continue
			}
			return found, ""
		}
		dir := path.Dir(p)
		for ; dir != "." && all[dir].Type != spec.TypeSymlink; dir = path.Dir(dir) {
		}
		if dir == "." {
			return found, ""
		}
		p = path.Join(path.Dir(dir), all[dir].Target) + strings.TrimPrefix(p, dir)
	}
	return found, ""
}

func TestLacking(t *testing.T) {
	empty := image("README")
	for _, name := range []string{"foreman", "cobbler", "tinkerbell"} {
		l, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Arrange(labelled("x", "1", "amd64"), empty, false); exitCode(err) != 3 {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
		if _, err := l.Arrange(labelled("x", "1", "amd64"), empty, true); err != nil {
			t.Errorf("%s: %v, although not all is known", name, err)
		}
	}
}

func TestBootFiles(t *testing.T) {
	for _, tc := range []struct {
		files          []string
		kernel, initrd string
	}{
		{[]string{"vmlinuz", "initrd.img", "vmlinuz.sig"}, "vmlinuz", "initrd.img"},
		{[]string{"a/linux", "a/initrd.gz", "a/gtk/linux", "a/gtk/initrd.gz"}, "a/linux", "a/initrd.gz"},
		{[]string{"vmlinuz", "boot/vmlinuz", "boot/initrd"}, "boot/vmlinuz", "boot/initrd"},
		{[]string{"vmlinuz-lts", "initramfs-lts", "modloop-lts"}, "vmlinuz-lts", "initramfs-lts"},
		{[]string{"vmlinuz-6.1", "vmlinuz-6.2", "initrd.img-6.1"}, "", "initrd.img-6.1"},
		{[]string{"vmlinuz", "initrd.img-6.1", "initrd.img-6.2"}, "vmlinuz", ""},
		{[]string{"vmlinuz", "vmlinuz-6.1", "initrd.img"}, "vmlinuz", "initrd.img"},
		{[]string{"linux.cfg", "README"}, "", ""},
		{[]string{"boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"}, "boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"},
	} {
		if k, i := BootFiles(image(tc.files...)); k != tc.kernel || i != tc.initrd {
			t.Errorf("%q: %q and %q, want %q and %q", tc.files, k, i, tc.kernel, tc.initrd)
		}
	}
}
