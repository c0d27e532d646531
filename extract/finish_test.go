package extract

import (
	"fmt"
	"path"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

func TestTreeEntries(t *testing.T) {
	sums := map[string]string{"efi/shim.efi": "s", "efi/grub.efi": "g", "pxelinux.0": "p", "copy": "p"}
	raw := []spec.Entry{
		{Path: ".", Type: spec.TypeDir},
		file("SHA256SUM", "x"), file("efi/shim.efi", "s"), file("efi/grub.efi", "g"), file("pxelinux.0", "p"),
		{Path: "copy", Type: spec.TypeHardlink, Target: "pxelinux.0", SHA256: "p"},
		{Path: "unlisted", Type: spec.TypeHardlink, Target: "pxelinux.0", SHA256: "p"},
		file("efi/BOOT", "s"), // a builder followed the link
		file("BOOTL", "p"),
	}
	labels := map[string]string{
		spec.LabelEntrypoint: "efi/shim.efi", spec.LabelAltEntrypoint: "efi/grub.efi", spec.LabelLegacyEntrypoint: "pxelinux.0",
	}
	tree, copies := newTreeEntries(raw, sums)
	tree.linkCopies(copies, labels)
	tree.entryLinks(labels)
	var got []string
	for _, e := range tree.list() {
		got = append(got, fmt.Sprintf("%s %s%s", e.Type, e.Path, map[bool]string{true: " -> " + e.Target}[e.Target != ""]))
	}
	want := []string{
		"symlink BOOTL -> pxelinux.0", "file SHA256SUM", "file copy", "dir efi",
		"symlink efi/BOOT -> shim.efi", "symlink efi/BOOT.efi -> shim.efi",
		"symlink efi/BOOTA -> grub.efi", "symlink efi/BOOTA.efi -> grub.efi",
		"file efi/grub.efi", "file efi/shim.efi", "file pxelinux.0", "file unlisted",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// TestPXELinuxModule: what pxelinux needs lies beside it, as Debian's package has it
// elsewhere.
func TestPXELinuxModule(t *testing.T) {
	for _, tc := range []struct {
		legacy string
		files  []string
		want   string // "path -> target"
	}{
		{"d/pxelinux.0", []string{"d/pxelinux.0", "d/boot-screens/ldlinux.c32"}, "d/ldlinux.c32 -> boot-screens/ldlinux.c32"},
		{"d/pxelinux.0", []string{"d/pxelinux.0", "ldlinux.c32"}, "d/ldlinux.c32 -> ../ldlinux.c32"},
		{"pxelinux.0", []string{"pxelinux.0", "b/ldlinux.c32", "a/ldlinux.c32"}, "ldlinux.c32 -> a/ldlinux.c32"},
		{"pxelinux.0", []string{"pxelinux.0", "ldlinux.c32", "a/ldlinux.c32"}, ""},
		{"pxelinux.0", []string{"pxelinux.0"}, ""},
		{"", []string{"a/ldlinux.c32"}, ""},
	} {
		tree := treeEntries{}
		for _, p := range tc.files {
			tree[p] = file(p, "x")
		}
		got := ""
		for _, e := range tree.entryLinks(map[string]string{spec.LabelLegacyEntrypoint: tc.legacy}) {
			if path.Base(e.Path) == "ldlinux.c32" {
				got += e.Path + " -> " + e.Target
			}
		}
		if got != tc.want {
			t.Errorf("%q: %q, want %q", tc.files, got, tc.want)
		}
	}
}
