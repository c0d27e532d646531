package extract

import (
	"fmt"
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
