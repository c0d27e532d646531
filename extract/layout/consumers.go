package layout

import (
	"path"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

const labelAdvice = "the labels of the image name its entrypoints (nbpack build --entrypoint, --alt-entrypoint); choose another --layout if it has none"

// nboci has links of its own names to the entrypoints, and its twins for HTTP boot as
// ours have.
func nboci(a *arranger) error {
	a.below(".")
	names := map[string]string{spec.LabelEntrypoint: "boot", spec.LabelAltEntrypoint: "boot-alt", spec.LabelLegacyEntrypoint: "boot-legacy"}
	for _, l := range spec.EntryLinks() {
		entrypoint := a.labels[l.Label]
		if entrypoint == "" {
			continue
		}
		for _, twin := range []string{"", ".efi"} {
			ours := spec.LinkFor(entrypoint, l.Name) + twin
			if a.out[ours].Type == spec.TypeSymlink {
				delete(a.out, ours)
			}
			if twin == "" || strings.EqualFold(path.Ext(entrypoint), twin) {
				a.link(a.out, spec.LinkFor(entrypoint, names[l.Label])+twin, path.Base(entrypoint))
			}
		}
	}
	return nil
}

// foreman wants one flat directory: the EFI programs under names that tell what they
// are, kernel and initrd under those of their family, and two links, which alone may
// be links. Whatever else is there is linked for each host if it ends in .efi.
func foreman(a *arranger) error {
	efi, err := a.arch.spelling("arch.efi")
	if err != nil {
		return err
	}
	shim, grub := "shim"+efi+".efi", "grub"+efi+".efi"
	if !a.show(grub, a.second()) {
		return a.lacks("second EFI program (grub)", labelAdvice)
	}
	a.link(a.out, "boot.efi", grub)
	if a.first() != a.second() && a.show(shim, a.first()) {
		a.link(a.out, "boot-sb.efi", shim)
	}
	for _, p := range a.beneath(path.Dir(a.first()), ".efi") {
		if p != a.first() && p != a.second() {
			a.show(path.Base(p), p)
		}
	}
	kernel, initrd := BootFiles(a.image)
	names := [2]string{"vmlinuz", "initrd.img"}
	switch strings.ToLower(a.labels[spec.LabelOSName]) {
	case "debian", "ubuntu":
		names = [2]string{"linux", "initrd.gz"}
	}
	a.show(names[0], kernel)
	a.show(names[1], initrd)
	return nil
}

// cobbler copies its directory of loaders to the TFTP root. Kernel and initrd may lie
// anywhere; the tree has them. Shim asks for grub beside itself, and so both are in
// either place that Cobbler's templates name.
func cobbler(a *arranger) error {
	a.below(".")
	found := false
	if efi := a.arch.efi; efi != "" && a.first() != "" {
		shim := "shim" + efi + ".efi"
		if efi == "x64" {
			shim = "shim.efi"
		}
		dirs := []string{"grub"}
		if efi == "x64" {
			dirs = append(dirs, "")
		}
		for _, dir := range dirs {
			found = a.aside(path.Join(dir, "grub"+efi+".efi"), a.second()) || found
			if a.first() != a.second() {
				a.aside(path.Join(dir, shim), a.first())
			}
		}
		for _, p := range a.beneath(path.Dir(a.first()), ".efi") {
			if base := path.Base(p); strings.HasPrefix(base, "mm") {
				a.aside(path.Join("grub", base), p)
			}
		}
	}
	if legacy := a.labels[spec.LabelLegacyEntrypoint]; legacy != "" && a.aside("pxelinux.0", legacy) {
		found = true
		a.modules()
	}
	if !found {
		return a.lacks("boot loader", labelAdvice)
	}
	return nil
}

// modules puts what pxelinux loads beside it.
func (a *arranger) modules() {
	for _, e := range a.image {
		if base := path.Base(e.Path); e.Type == spec.TypeFile && (strings.HasSuffix(base, ".c32") || base == "memdisk") {
			a.aside(base, e.Path)
		}
	}
}

// tinkerbell asks for kernel and initrd by architecture, those of all architectures
// in one directory.
func tinkerbell(a *arranger) error {
	a.below(".")
	kernel, initrd := BootFiles(a.image)
	dir := path.Dir(a.live)
	for name, from := range map[string]string{"vmlinuz": kernel, "initramfs": initrd} {
		if !a.aside(path.Join(dir, name+"-"+a.arch.rpm), from) {
			return a.lacks("kernel with an initrd that are known by their names", "choose another --layout")
		}
	}
	return nil
}

// installer is for Debian, which has all of an architecture in one directory, and links
// to it at the top, from where pxelinux looks for its configuration. Debian's grub looks
// there, too: for a path that was fixed when it was built. Ubuntu does the same with
// another directory; what several architectures share there, such as grub/grub.cfg, is
// configuration and left to the site.
//
// The tree is that directory of the image, with the links above it that lead into it. An
// image without that directory is it.
func installer(a *arranger) error {
	if !a.has(a.live) {
		a.below(".")
		return nil
	}
	a.below(a.live)
	for _, e := range a.image {
		if e.Type != spec.TypeSymlink || strings.Contains(e.Path, "/") {
			continue
		}
		if to := path.Clean(e.Target); strings.HasPrefix(to, a.live+"/") {
			a.link(a.beside, e.Path, e.Target)
		}
	}
	return nil
}
