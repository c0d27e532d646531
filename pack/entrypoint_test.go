package pack

import (
	"testing"

	"github.com/nbpack/nbpack/spec"
)

func TestEntrypointsAreFound(t *testing.T) {
	for _, tc := range []struct {
		name, arch            string
		tree                  []string
		first, second, legacy string
		set                   func(*Options)
	}{
		{name: "debian", arch: "amd64",
			tree: []string{"debian-installer/amd64/bootnetx64.efi", "debian-installer/amd64/grubx64.efi", "debian-installer/amd64/grub/x.mod",
				"debian-installer/amd64/pxelinux.0", "pxelinux.0 -> debian-installer/amd64/pxelinux.0"},
			first: "debian-installer/amd64/bootnetx64.efi", second: "debian-installer/amd64/grubx64.efi", legacy: "debian-installer/amd64/pxelinux.0"},
		{name: "fedora", arch: "amd64", tree: []string{"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi", "images/pxeboot/vmlinuz"},
			first: "EFI/BOOT/BOOTX64.EFI", second: "EFI/BOOT/grubx64.efi"},
		{name: "shim before the removable name", arch: "amd64", tree: []string{"shimx64.efi", "BOOTX64.EFI", "grubx64.efi", "grubnetx64.efi"},
			first: "shimx64.efi", second: "grubx64.efi"},
		{name: "where the second stage is", arch: "arm64", tree: []string{"a/shimaa64.efi", "b/shimaa64.efi", "b/grubaa64.efi"},
			first: "b/shimaa64.efi", second: "b/grubaa64.efi"},
		{name: "grub beside shim of several", arch: "arm64", tree: []string{"a/shimaa64.efi", "a/grubaa64.efi", "b/grubnetaa64.efi"},
			first: "a/shimaa64.efi", second: "a/grubaa64.efi"},
		{name: "suse", arch: "amd64", tree: []string{"EFI/BOOT/bootx64.efi", "EFI/BOOT/grub.efi"},
			first: "EFI/BOOT/bootx64.efi", second: "EFI/BOOT/grub.efi"},
		{name: "another architecture", arch: "arm64", tree: []string{"shimx64.efi", "grubx64.efi", "pxelinux.0"}},
		{name: "none", arch: "s390x", tree: []string{"kernel", "shim.efi"}},
		{name: "legacy only", arch: "amd64", tree: []string{"d/LPXELINUX.0", "undionly.kpxe"}, legacy: "d/LPXELINUX.0"},
		{name: "ipxe", arch: "amd64", tree: []string{"undionly.kpxe"}, legacy: "undionly.kpxe"},
		{name: "a link beside it", arch: "amd64", tree: []string{"d/first.efi", "d/f -> first.efi"},
			set: func(o *Options) { o.Entrypoint = "d/f" }, first: "d/first.efi"},
		{name: "a first program that needs no second", arch: "amd64", tree: []string{"uki.efi", "d/grubx64.efi"},
			set: func(o *Options) { o.Entrypoint = "uki.efi" }, first: "uki.efi"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := amd64(writeTree(t, t.TempDir(), tc.tree...))
			o.Platform.Architecture = tc.arch
			if tc.set != nil {
				tc.set(&o)
			}
			plan, err := Scan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for label, want := range map[string]string{
				spec.LabelEntrypoint: tc.first, spec.LabelAltEntrypoint: tc.second, spec.LabelLegacyEntrypoint: tc.legacy,
			} {
				if plan.Labels[label] != want || plan.Annotations[label] != want {
					t.Errorf("%s: label %q, annotation %q, want %q", label, plan.Labels[label], plan.Annotations[label], want)
				}
			}
		})
	}
}

func TestNoEntrypointIsSaid(t *testing.T) {
	o := amd64(writeTree(t, t.TempDir(), "kernel"))
	o.OSName = ""
	said := 0
	o.Log = func(string, ...any) { said++ }
	if _, err := Scan(t.Context(), o); err != nil || said != 2 {
		t.Errorf("said %d, error %v", said, err)
	}
}
