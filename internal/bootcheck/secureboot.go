package bootcheck

import (
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// isShim tells whether a program is shim: it says so itself since there is SBAT,
// before that it has only its name.
func (f *facts) isShim() bool {
	if f.program == nil || f.kernel != nil {
		return false
	}
	if len(f.sbat) > 0 {
		return f.sbat["shim"] > 0 && !isHelper(f.path)
	}
	return strings.HasPrefix(strings.ToLower(path.Base(f.path)), "shim")
}

// isHelper tells whether this is one of the programs that are built with shim:
// MokManager and the fallback.
func isHelper(p string) bool {
	name := strings.ToLower(path.Base(p))
	return strings.HasPrefix(name, "mm") || strings.HasPrefix(name, "mok") || strings.HasPrefix(name, "fb") || strings.HasPrefix(name, "fallback")
}

// second gives the name that a shim asks for, from the shim itself or, where that
// does not show it, by the rule of upstream.
func (f *facts) second() string {
	if f.loader != "" {
		return f.loader
	}
	if arch := peArchitecture(f.program.machine); arch != "" {
		return "grub" + efiSuffix(arch) + ".efi"
	}
	return ""
}

// shims looks for the second stage beside each shim: it asks the server for it in
// the directory of the name that it was itself loaded by.
func (j *judge) shims() {
	for i := range j.files {
		f := &j.files[i]
		if !f.isShim() || f.second() == "" {
			continue
		}
		want := path.Join(path.Dir(f.path), f.second())
		there, twin := false, ""
		for _, e := range j.entries {
			there = there || e.Path == want && e.Type != spec.TypeDir
			if e.Path != want && spec.FoldKey(e.Path) == spec.FoldKey(want) {
				twin = e.Path
			}
		}
		if there && !j.broken(want) {
			continue
		}
		rule := RuleShimAlone
		if slices.Contains(j.entrypoints(), f.path) && f.loader != "" {
			rule = RuleShimLoader
		}
		switch {
		case there:
			j.report(rule, f.path, "asks for %q beside itself, which is no whole EFI program", f.second())
		case twin != "":
			j.report(rule, f.path, "asks for %q beside itself, and there is only %q: names are told apart by case", f.second(), path.Base(twin))
		default:
			j.report(rule, f.path, "asks for %q beside itself, which is not there", f.second())
		}
	}
}

// broken tells whether a file of the set was read and cannot be started.
func (j *judge) broken(name string) bool {
	return slices.ContainsFunc(j.files, func(f facts) bool {
		return f.path == name && (f.program == nil || f.program.end > f.size)
	})
}

// programs judges each EFI program by itself.
func (j *judge) programs() {
	shim := slices.ContainsFunc(j.files, func(f facts) bool { return f.isShim() && f.program.signed })
	for i := range j.files {
		f := &j.files[i]
		p := f.program
		named := Program(f.path)
		switch {
		case p == nil && named && f.kernel == nil:
			j.report(RuleEFIFormat, f.path, "%v", f.notPE)
			continue
		case p != nil && p.end > f.size && (p.efi || named):
			j.report(RuleEFIFormat, f.path, "is cut off: it has %d bytes, and its headers speak of %d", f.size, p.end)
			continue
		case p == nil || !p.efi:
			continue
		}
		if !p.signed && (f.kernel == nil || shim) {
			j.report(RuleEFIUnsigned, f.path, "has no signature")
		}
		if f.kernel == nil && len(f.sbat) == 0 && p.signed && j.besideShim(f) {
			j.report(RuleSBATMissing, f.path, "has no .sbat section")
		}
		if len(f.sbat) > 0 {
			j.report(RuleSBATLevel, f.path, "has the generations %q", f.sbat)
		}
	}
}

// besideShim tells whether this is the second stage of a shim.
func (j *judge) besideShim(f *facts) bool {
	return slices.ContainsFunc(j.files, func(s facts) bool {
		return s.isShim() && path.Join(path.Dir(s.path), s.second()) == f.path
	})
}

// revocations compares generations with what is known, and with what the shims of
// the set ask for.
func (j *judge) revocations() {
	level := revoked()
	for i := range j.files {
		level.raise(j.files[i].levels)
	}
	for i := range j.files {
		f := &j.files[i]
		if low := f.sbat.below(level); len(low) > 0 {
			j.report(RuleSBATRevoked, f.path, "has the generation %s", quoted(low))
		}
	}
}
