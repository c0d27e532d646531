package menu

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

const header = `Written by nbextract from what this directory holds, anew with each update. A file that
# was changed by hand is not replaced: include this one from another instead.`

func (f Format) standard() string {
	switch f {
	case Grub:
		return `# ` + header + `
set default=0
set timeout=10
{{range .Entries}}
if [ {{arch .Arch}} ]; then
menuentry {{quote .Title}} --id {{quote .ID}} {
	linux {{quote (rooted .Kernel)}}{{args .Args}}
{{- if .Initrd}}
	initrd {{quote (rooted .Initrd)}}
{{- end}}
}
fi
{{end}}`
	case PXELinux:
		return `# ` + header + `
{{if .Entries}}DEFAULT {{(index .Entries 0).ID}}
{{end}}PROMPT 1
TIMEOUT 100
{{range .Entries}}SAY {{.ID}}: {{quote .Title}}
{{end}}{{range .Entries}}
LABEL {{.ID}}
MENU LABEL {{quote .Title}}
KERNEL {{rooted .Kernel}}
{{- if .Initrd}}
INITRD {{rooted .Initrd}}
{{- end}}
{{- if .Args}}
APPEND{{args .Args}}
{{- end}}
{{end}}`
	}
	return `#!ipxe
# ` + header + `
set arch ${buildarch}
iseq ${arch} i386 && set arch x86_64 ||
menu Boot from the network
{{range .Entries}}iseq {{arch .Arch}} && item {{.ID}} {{quote .Title}} ||
{{end}}item shell iPXE shell
choose --timeout 10000 selected || goto shell
goto ${selected}
:shell
shell
{{range .Entries}}
:{{.ID}}
kernel {{rooted .Kernel}}{{if .Initrd}} initrd=initrd{{end}}{{args .Args}}
{{- if .Initrd}}
initrd --name initrd {{rooted .Initrd}}
{{- end}}
boot
{{end}}`
}

// line makes one line of a text.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
}

// quote makes a text that stands for itself: in grub as in a shell, elsewhere without
// what would be expanded, since the others have no quotes.
func (f Format) quote(s string) string {
	s = line(s)
	switch f {
	case Grub:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	case PXELinux:
		return strings.ReplaceAll(s, "^", "")
	}
	words := slices.DeleteFunc(strings.Fields(strings.ReplaceAll(s, "$", "")), func(w string) bool { return special(w) })
	return strings.Join(words, " ")
}

// special tells whether iPXE has a meaning of its own for a word.
func special(w string) bool {
	return slices.Contains([]string{"||", "&&", ";"}, w) || strings.HasPrefix(w, "#")
}

// args writes arguments of a kernel behind a space, one by one.
func (f Format) args(s string) string {
	var out strings.Builder
	for _, a := range strings.Fields(line(s)) {
		out.WriteByte(' ')
		if f == Grub {
			a = f.quote(a)
		}
		out.WriteString(a)
	}
	return out.String()
}

// rooted names a file below the boot directory as the format does: from the root of the
// server. iPXE takes names relative to the menu (at), and so from wherever that came.
func (f Format) rooted(p, at string) string {
	switch f {
	case PXELinux:
		return "::" + p
	case IPXE:
		return strings.Repeat("../", strings.Count(at, "/")) + strings.TrimPrefix((&url.URL{Path: "/" + p}).EscapedPath(), "/")
	}
	return "/" + p
}

// arch is how the format asks whether a machine is of an architecture, or calls it;
// empty for one that it does not run on.
func (f Format) arch(oci string) string {
	switch f {
	case Grub:
		cpu := map[string]string{"386": "i386", "arm64": "arm64", "armv7": "arm", "armv6": "arm", "armv5": "arm",
			"riscv64": "riscv64", "ppc64le": "powerpc", "ppc64": "powerpc", "loong64": "loongarch64"}[oci]
		if oci == "amd64" {
			return `"$grub_cpu" = x86_64 -o "$grub_cpu" = i386`
		}
		if cpu != "" {
			return `"$grub_cpu" = ` + cpu
		}
		return ""
	case PXELinux:
		if oci == "amd64" || oci == "386" {
			return oci
		}
		return ""
	}
	cpu := map[string]string{"amd64": "${arch} x86_64", "386": "${buildarch} i386", "arm64": "${buildarch} arm64", "armv7": "${buildarch} arm32",
		"armv6": "${buildarch} arm32", "riscv64": "${buildarch} riscv64", "loong64": "${buildarch} loong64"}[oci]
	return cpu
}

// fits tells why an entry cannot be in a menu of the format.
func (f Format) fits(e *Entry) error {
	if err := errors.Join(CheckText(e.Args), CheckText(e.Title)); err != nil {
		return err
	}
	switch f {
	case PXELinux:
		for _, p := range []string{e.Kernel, e.Initrd} {
			if strings.ContainsAny(p, " ,:") {
				return fmt.Errorf("pxelinux cannot name the file %q", p)
			}
		}
	case IPXE:
		if strings.Contains(e.Args, "${") {
			return fmt.Errorf("iPXE would expand %q", e.Args)
		}
		for _, a := range strings.Fields(e.Args) {
			if special(a) {
				return fmt.Errorf("iPXE has its own meaning for %q", a)
			}
		}
	}
	return nil
}
