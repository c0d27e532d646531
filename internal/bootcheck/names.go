package bootcheck

import (
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// maxBootfile is how long a name of a boot file may be: the field "file" of DHCP
// has 128 bytes, the last of them zero (RFC 2131, section 2).
const maxBootfile = 127

// names judges what shows without reading files.
func (j *judge) names() {
	for _, e := range j.entries {
		j.mode(e)
		if e.Type != spec.TypeDir && isSiteConfig(e.Path) {
			j.report(RuleSiteConfig, e.Path, "is a configuration of the boot loader")
		}
	}
	var prefix []string
	for _, l := range spec.PathLabels() {
		v := j.o.Labels[l]
		if v == "" {
			prefix = nil
			break
		}
		prefix = append(prefix, v)
	}
	for _, l := range spec.EntryLinks() {
		p := j.o.Labels[l.Label]
		if p == "" {
			continue
		}
		for _, name := range slices.Compact([]string{p, spec.LinkFor(p, l.Name)}) {
			if full := path.Join(append(slices.Clone(prefix), name)...); len(full) > maxBootfile {
				j.report(RuleBootfileLength, name, "is %d bytes long with the directories above it (%q), %d are possible", len(full), path.Dir(full), maxBootfile)
			}
		}
	}
}

// mode asks whether a server that runs as some user can read an entry.
func (j *judge) mode(e spec.Entry) {
	switch {
	case !j.o.Modes:
	case e.Type == spec.TypeFile && e.Mode&0o004 == 0:
		j.report(RuleTFTPMode, e.Path, "has the mode %04o: not everybody may read it", e.Mode)
	case e.Type == spec.TypeDir && e.Mode&0o005 != 0o005:
		j.report(RuleTFTPMode, e.Path, "has the mode %04o: not everybody may enter it", e.Mode)
	}
}

// isSiteConfig tells whether boot loaders look for a file of this name.
func isSiteConfig(p string) bool {
	name := strings.ToLower(path.Base(p))
	switch {
	case name == "grub.cfg" || strings.HasPrefix(name, "grub.cfg-"):
	case path.Base(path.Dir(strings.ToLower(p))) == "pxelinux.cfg":
	case name == "syslinux.cfg" || name == "isolinux.cfg" || name == "extlinux.conf" || name == "yaboot.conf" || name == "autoexec.ipxe" || name == "boot.ipxe":
	default:
		return false
	}
	return true
}
