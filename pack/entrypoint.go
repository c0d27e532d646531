package pack

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// role is one way into a boot tree and the names that its file usually has.
type role struct {
	label string
	flag  string
	// groups of lower-case names: the first group that occurs decides, in it
	// the first name.
	groups [][]string
}

// efiSuffixes are the names that UEFI gives to architectures in file names
// (UEFI specification, section 3.5.1.1).
var efiSuffixes = map[string]string{
	"386": "ia32", "amd64": "x64", "arm": "arm", "arm64": "aa64", "riscv64": "riscv64", "loong64": "loongarch64",
}

// roles gives the usual names for an architecture: those of shim and of what
// distributions call shim on a network, of grub, and of the programs that a BIOS
// starts. An architecture without such firmware has none.
func roles(architecture string) []role {
	first := role{label: spec.LabelEntrypoint, flag: "--entrypoint"}
	second := role{label: spec.LabelAltEntrypoint, flag: "--alt-entrypoint"}
	legacy := role{label: spec.LabelLegacyEntrypoint, flag: "--legacy-entrypoint"}
	if s, ok := efiSuffixes[architecture]; ok {
		first.groups = [][]string{
			{"shim" + s + ".efi", "shim.efi", "shim" + s + ".efi.signed", "shim.efi.signed"},
			{"bootnet" + s + ".efi", "boot" + s + ".efi"},
		}
		second.groups = [][]string{
			{"grub" + s + ".efi", "grubnet" + s + ".efi", "grub.efi", "grub" + s + ".efi.signed", "grubnet" + s + ".efi.signed"},
		}
	}
	if architecture == "amd64" || architecture == "386" {
		legacy.groups = [][]string{
			{"pxelinux.0", "lpxelinux.0", "gpxelinux.0"},
			{"undionly.kpxe", "undionly.kkpxe", "undionly.pxe"},
		}
	}
	return []role{first, second, legacy}
}

// isFirstStage tells whether a file is one that loads a second stage from beside
// itself, by its name: shim, or the removable-media name that shim often has.
func isFirstStage(p string) bool {
	name := strings.ToLower(path.Base(p))
	return strings.HasPrefix(name, "shim") || strings.HasPrefix(name, "boot") && strings.HasSuffix(name, ".efi")
}

// isSecondStage tells whether shim may be looking for this file: grubx64.efi
// and its like, or grub.efi.
func isSecondStage(p string) bool {
	name := strings.ToLower(path.Base(p))
	return strings.HasPrefix(name, "grub") && strings.HasSuffix(name, ".efi")
}

// entrypoints finds the files to start with and gives them by label. What the
// options name is checked, what they leave open is found by its usual name.
func (t tree) entrypoints(o *Options) (map[string]string, error) {
	given := map[string]string{
		spec.LabelEntrypoint:       o.Entrypoint,
		spec.LabelAltEntrypoint:    o.AltEntrypoint,
		spec.LabelLegacyEntrypoint: o.LegacyEntrypoint,
	}
	found := map[string]string{}
	for _, r := range roles(o.Platform.Architecture) {
		p, err := t.entrypoint(r, given[r.label], t.preferred(r, found))
		if err != nil {
			return nil, err
		}
		if p != "" {
			found[r.label] = p
		}
	}
	first, second := found[spec.LabelEntrypoint], found[spec.LabelAltEntrypoint]
	if err := t.checkSecondStage(first); err != nil {
		return nil, err
	}
	if first != "" && second != "" && path.Dir(first) != path.Dir(second) {
		if o.AltEntrypoint != "" {
			return nil, refuse(ruleEntrypoint, second,
				"firmware and shim ask for the next file beside the name they were given: bring both into one directory with --rename",
				"does not lie beside the entrypoint %q", first)
		}
		// The user named a first program that needs no second one.
		delete(found, spec.LabelAltEntrypoint)
	}
	return found, nil
}

func (t tree) entrypoint(r role, given string, prefer func(dir string) bool) (string, error) {
	if given != "" {
		return t.givenEntrypoint(r, given)
	}
	return t.findEntrypoint(r, prefer)
}

// preferred tells in which directories a role is looked for first: the first
// stage where a second stage is, the second stage beside the first.
func (t tree) preferred(r role, found map[string]string) func(dir string) bool {
	switch r.label {
	case spec.LabelEntrypoint:
		dirs := t.secondStageDirs()
		return func(dir string) bool { return slices.Contains(dirs, dir) }
	case spec.LabelAltEntrypoint:
		first, ok := found[spec.LabelEntrypoint]
		return func(dir string) bool { return ok && dir == path.Dir(first) }
	}
	return func(string) bool { return false }
}

// findEntrypoint looks for the usual names, in any case. None is no error,
// several in different directories are.
func (t tree) findEntrypoint(r role, prefer func(dir string) bool) (string, error) {
	for _, group := range r.groups {
		candidates := t.named(group)
		if best := slices.DeleteFunc(slices.Clone(candidates), func(p string) bool { return !prefer(path.Dir(p)) }); len(best) > 0 {
			candidates = best
		}
		if len(candidates) == 0 {
			continue
		}
		for _, p := range candidates[1:] {
			if path.Dir(p) != path.Dir(candidates[0]) {
				return "", refuse(ruleEntrypoint, "",
					fmt.Sprintf("choose one with %s, or leave the others out with --exclude", r.flag),
					"several files could be the %s: %q", strings.TrimPrefix(r.flag, "--"), candidates)
			}
		}
		return candidates[0], nil
	}
	return "", nil
}

// named gives the regular files with one of the names, in the order of names,
// then of paths.
func (t tree) named(names []string) []string {
	rank := func(p string) int { return slices.Index(names, strings.ToLower(path.Base(p))) }
	var found []string
	for _, e := range t.sorted() {
		if e.Type == spec.TypeFile && rank(e.Path) >= 0 {
			found = append(found, e.Path)
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return rank(a) - rank(b) })
	return found
}

// givenEntrypoint checks a file that the user named, and follows it if it is a
// link: labels name files.
func (t tree) givenEntrypoint(r role, p string) (string, error) {
	if err := spec.CheckPath(p); err != nil {
		return "", badOption("give its path inside the payload, as in EFI/BOOT/shimx64.efi", "%s %s: %v", r.flag, p, err)
	}
	if t[p] == nil {
		return "", refuse(ruleEntrypoint, p, t.nearHint(p), "%s is not in the payload", r.flag)
	}
	end, ok := t.resolve(p)
	if !ok || t[end] == nil || t[end].Type != spec.TypeFile {
		return "", refuse(ruleEntrypoint, p, "name the file that firmware is to start", "%s is not a file", r.flag)
	}
	if path.Dir(end) != path.Dir(p) {
		return "", refuse(ruleEntrypoint, p,
			fmt.Sprintf("give %s %s: firmware asks for the next file beside the name it was given", r.flag, end),
			"%s is a link into another directory, to %q", r.flag, end)
	}
	return end, nil
}

// nearHint names files with the same base name as a path that does not exist.
func (t tree) nearHint(p string) string {
	var near []string
	for _, e := range t.sorted() {
		if e.Type == spec.TypeFile && strings.EqualFold(path.Base(e.Path), path.Base(p)) {
			near = append(near, e.Path)
		}
	}
	if len(near) == 0 {
		return "give its path inside the payload, as in EFI/BOOT/shimx64.efi; --dry-run lists the payload"
	}
	return fmt.Sprintf("the payload has %q", near)
}

// secondStageDirs gives the directories that hold a second stage, sorted.
func (t tree) secondStageDirs() []string {
	var dirs []string
	for _, e := range t.sorted() {
		if e.Type != spec.TypeDir && isSecondStage(e.Path) {
			dirs = append(dirs, path.Dir(e.Path))
		}
	}
	return slices.Compact(dirs)
}

// checkSecondStage refuses a first stage whose second stage lies elsewhere:
// shim asks the boot server for grub beside the name that it was itself loaded
// by, so such a tree does not boot.
func (t tree) checkSecondStage(first string) error {
	dirs := t.secondStageDirs()
	if first == "" || len(dirs) == 0 || !isFirstStage(first) || slices.Contains(dirs, path.Dir(first)) {
		return nil
	}
	return refuse(ruleEntrypoint, first,
		"bring both into one directory with --rename, or name another file with --entrypoint",
		"there is no second stage (grub*.efi) beside the entrypoint; the payload has one in %q", dirs)
}

// addEntryLinks gives the links BOOT, BOOTA and BOOTL of the entrypoints. Links
// of the sources that say the same are replaced by them, everything else of that
// name is refused.
func (t tree) addEntryLinks(entrypoints map[string]string) ([]Entry, error) {
	var links []Entry
	for _, l := range spec.EntryLinks() {
		file, ok := entrypoints[l.Label]
		if !ok {
			continue
		}
		p := spec.LinkFor(file, l.Name)
		if p == file {
			continue // the file has the name of its link already
		}
		if old, ok := t[p]; ok {
			if end, ok := t.resolve(p); old.Type != spec.TypeSymlink || !ok || end != file {
				return nil, refuse(ruleSourceClash, p, hintExclude,
					"is a %s of the sources, but this name is needed for a link to %q", old.Type, path.Base(file))
			}
		}
		e := Entry{Path: p, Type: spec.TypeSymlink, Target: path.Base(file)}
		t[p] = &e
		links = append(links, e)
	}
	return links, t.checkTwins()
}
