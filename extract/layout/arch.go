package layout

import (
	"fmt"

	"github.com/nbpack/nbpack/spec"
)

// arch is an architecture in the spellings of those who look for boot files.
type arch struct {
	oci string // as nbpack writes it: amd64, armv7
	rpm string // of Fedora, Red Hat, SUSE and of kernels: x86_64
	deb string // of Debian and Ubuntu: ppc64el
	efi string // in the names of EFI programs: x64
}

func archs() []arch {
	return []arch{
		{"amd64", "x86_64", "amd64", "x64"},
		{"386", "i386", "i386", "ia32"},
		{"arm64", "aarch64", "arm64", "aa64"},
		{"armv7", "armv7hl", "armhf", "arm"},
		{"armv6", "armv6hl", "armhf", "arm"}, // Debian has no port for it, Raspbian calls it so
		{"armv5", "armv5tel", "armel", "arm"},
		{"ppc64le", "ppc64le", "ppc64el", ""},
		{"ppc64", "ppc64", "ppc64", ""},
		{"s390x", "s390x", "s390x", ""},
		{"riscv64", "riscv64", "riscv64", "riscv64"},
		{"loong64", "loongarch64", "loong64", "loongarch64"},
	}
}

// archOf finds the architecture that a label names in any spelling.
func archOf(label string) (arch, error) {
	p, err := spec.ParsePlatform(label)
	if err == nil {
		for _, a := range archs() {
			if a.oci == p.Arch() {
				return a, nil
			}
		}
	}
	r := spec.Refuse(spec.RuleLabelValue, spec.LabelOSArch, "the architecture %q has no known spelling elsewhere", label)
	r.Advice = "give a known one with --set os.arch=VALUE, or choose another --layout"
	return arch{}, r
}

// spelling gives one of the spellings by the name that templates have for it.
func (a arch) spelling(name string) (string, error) {
	s := map[string]string{"arch.oci": a.oci, "arch.rpm": a.rpm, "arch.deb": a.deb, "arch.efi": a.efi}[name]
	if s == "" {
		r := spec.Refuse(spec.RuleLabelValue, spec.LabelOSArch, "the architecture %q has no spelling for {%s}", a.oci, name)
		r.Advice = fmt.Sprintf("choose a --layout without {%s}", name)
		return "", r
	}
	return s, nil
}
