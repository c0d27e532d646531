package source

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// pkg is what a package says about itself.
type pkg struct {
	format                       string // deb or rpm
	name, version, release, arch string
	vendor                       string
}

// rule says which files of a known package are its boot set, and how they are
// called in the tree. The zero value knows nothing: every file is offered under
// its own name.
type rule struct {
	what   string // what the boot set is, for the user
	rename func(full string) (string, bool)
}

func (r rule) known() bool { return r.rename != nil }

func (r rule) name(full string) (string, bool) {
	if r.rename == nil {
		return "", false
	}
	return r.rename(full)
}

// below takes a directory to the top.
func below(dir string) func(string) (string, bool) {
	return func(full string) (string, bool) {
		name, ok := strings.CutPrefix(full, dir+"/")
		return name, ok && name != ""
	}
}

// one takes the files that a pattern matches as a whole under one name, in which
// $1 stands for what the first group matched.
func one(pattern, name string) func(string) (string, bool) {
	re := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return func(full string) (string, bool) {
		if !re.MatchString(full) {
			return "", false
		}
		return re.ReplaceAllString(full, name), true
	}
}

// packageRule is one known family of packages.
type packageRule struct {
	format string
	name   *regexp.Regexp
	rule   func(match []string) rule
}

// packageRules are the packages that hold boot files. The names are those that
// the next stage asks for: shim loads grubx64.efi, whatever a package calls it.
var packageRules = []packageRule{
	{"deb", regexp.MustCompile(`^debian-installer-([0-9]+)-netboot-([a-z0-9]+)$`), func(m []string) rule {
		return rule{"the text flavour of the installer", installerText("usr/lib/debian-installer/images/" + m[1] + "/" + m[2] + "/text")}
	}},
	{"deb", regexp.MustCompile(`^shim-signed$`), fixed("shim", `usr/lib/shim/(shim[a-z0-9]+\.efi)\.signed`, "$1")},
	{"deb", regexp.MustCompile(`^grub-efi-[a-z0-9]+-signed$`), fixed("grub for the network", `usr/lib/grub/[a-z0-9_]+-efi-signed/grubnet([a-z0-9]+\.efi)\.signed`, "grub$1")},
	{"deb", regexp.MustCompile(`^pxelinux$`), fixed("pxelinux", `usr/lib/PXELINUX/(pxelinux\.0)`, "$1")},
	{"deb", regexp.MustCompile(`^syslinux-common$`), fixed("what pxelinux loads first", `usr/lib/syslinux/modules/bios/(ldlinux\.c32)`, "$1")},
	{"deb", regexp.MustCompile(`^linux-image-.*`), fixed("the kernel", `boot/(vmlinu[xz])-.*`, "$1")},
	{"rpm", regexp.MustCompile(`^shim(?:-[a-z0-9]+)?$`), fixed("shim", `boot/efi/EFI/[^/]+/(shim[a-z0-9]*\.efi)|usr/share/efi/[a-z0-9_]+/(shim\.efi)`, "$1$2")},
	{"rpm", regexp.MustCompile(`^grub2-efi-[a-z0-9]+$`), fixed("grub", `boot/efi/EFI/[^/]+/(grub[a-z0-9]*\.efi)`, "$1")},
	{"rpm", regexp.MustCompile(`^grub2-[a-z0-9_]+-efi$`), fixed("grub", `usr/share/(?:efi/[a-z0-9_]+|grub2/[a-z0-9_]+-efi)/(grub\.efi)`, "$1")},
	{"rpm", regexp.MustCompile(`^kernel-(?:core|default)$`), fixed("the kernel", `(?:usr/)?lib/modules/[^/]+/(vmlinuz|Image)`, "$1")},
}

func fixed(what, pattern, name string) func([]string) rule {
	return func([]string) rule { return rule{what, one(pattern, name)} }
}

// installerText takes what the text flavour of Debian's installer has below
// debian-installer and the links to it, not what else lies there.
func installerText(dir string) func(string) (string, bool) {
	top := below(dir)
	return func(full string) (string, bool) {
		name, ok := top(full)
		return name, ok && path.Base(name) != "version.info"
	}
}

// ruleFor finds the rule for a package.
func ruleFor(p pkg) rule {
	for _, r := range packageRules {
		if m := r.name.FindStringSubmatch(p.name); m != nil && p.format == r.format {
			return r.rule(m)
		}
	}
	return rule{}
}

// packageCollector makes the collector for a package: it knows the rule, and
// hears what the package says.
func (a *archiveFile) packageCollector(p pkg) *collector {
	r := ruleFor(p)
	c := newCollector(a.s, a.name, r)
	c.facts.pkg(p)
	switch {
	case !r.known():
	case a.s.o.Chosen:
		a.o.notes = append(a.o.notes, fmt.Sprintf("package %q (%s): --include chooses from all its files", p.name, p.version))
	default:
		a.o.notes = append(a.o.notes, fmt.Sprintf("package %q (%s): %s; --include offers the rest", p.name, p.version, r.what))
	}
	return c
}

// installerPackage is a package of Debian's installer, which is for all
// architectures but names one.
var installerPackage = regexp.MustCompile(`^debian-installer-([0-9]+)-netboot-([a-z0-9]+)$`)

// fedoraRelease is the end of the release of a package of Fedora.
var fedoraRelease = regexp.MustCompile(`\.fc([0-9]+)$`)

// pkg notes what a package says about itself.
func (f *facts) pkg(p pkg) {
	if p.name == "" {
		return
	}
	version := p.version
	if p.release != "" {
		version += "-" + p.release
	}
	f.add(FactPackage, p.name+" "+version, "")
	f.add(FactPlatform, p.arch, "")
	if m := installerPackage.FindStringSubmatch(p.name); m != nil && p.format == "deb" {
		f.add(FactOSName, "debian", "")
		f.add(FactOSVersion, m[1], "")
		f.add(FactPlatform, m[2], "")
	}
	if m := fedoraRelease.FindStringSubmatch(p.release); m != nil && p.vendor == "Fedora Project" {
		f.add(FactOSName, "fedora", "")
		f.add(FactOSVersion, m[1], "")
	}
}
