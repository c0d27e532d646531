package bootcheck

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// kernels compares kernels with initrds: those of one directory if it has both,
// else those of the whole set.
func (j *judge) kernels() {
	var kernels, initrds []*facts
	for i := range j.files {
		f := &j.files[i]
		switch {
		case f.kernel != nil:
			kernels = append(kernels, f)
		case f.initrd != nil && len(f.initrd.modules) > 0:
			initrds = append(initrds, f)
		}
		j.unread(f)
	}
	for _, f := range initrds {
		j.initrd(f, near(f, kernels))
	}
	for _, f := range kernels {
		j.kernel(f, near(f, initrds))
	}
}

// near gives the files in the directory of f, or all if there are none.
func near(f *facts, all []*facts) []*facts {
	var beside []*facts
	for _, o := range all {
		if path.Dir(o.path) == path.Dir(f.path) {
			beside = append(beside, o)
		}
	}
	if len(beside) == 0 {
		return all
	}
	return beside
}

// initrd asks for a kernel with the version of the modules.
func (j *judge) initrd(f *facts, kernels []*facts) {
	var versions []string
	for _, k := range kernels {
		if v := k.kernel.version; v == "" || slices.Contains(f.initrd.modules, v) {
			return // it fits, or may fit
		} else if !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	if len(versions) > 0 {
		j.report(RuleKernelInitrd, f.path, "has modules of Linux %s, the kernel beside it is %s", quoted(f.initrd.modules), quoted(versions))
	}
}

// kernel asks for an initrd with the modules of this version, and mentions it.
func (j *judge) kernel(f *facts, initrds []*facts) {
	v := f.kernel.version
	if v == "" {
		j.report(RuleKernelUnread, f.path, "is a kernel that does not show its version")
		return
	}
	var with []string
	for _, i := range initrds {
		if slices.Contains(i.initrd.modules, v) {
			with = append(with, i.path)
		}
	}
	switch {
	case len(with) > 0:
		j.report(RuleKernelVersion, f.path, "is Linux %q, and its modules are in %s", v, quoted(with))
	case len(initrds) > 0:
		j.report(RuleKernelUnpaired, f.path, "is Linux %q, and no initrd beside it has modules of that version", v)
	default:
		j.report(RuleKernelVersion, f.path, "is Linux %q", v)
	}
}

// unread mentions files that look like an initrd or a kernel and cannot be read.
func (j *judge) unread(f *facts) {
	name := strings.ToLower(path.Base(f.path))
	named := strings.HasPrefix(name, "initrd") || strings.HasPrefix(name, "initramfs")
	err := f.damage
	if f.initrd != nil {
		named, err = true, f.initrd.err
	}
	switch {
	case errors.Is(err, errUnsupported) && (named || f.kernel == nil):
		j.report(RuleInitrdUnread, f.path, "%v", err)
	case err != nil && named:
		j.report(RuleInitrdDamaged, f.path, "cannot be unpacked to its end: %v", err)
	case named && f.initrd == nil && f.kernel == nil:
		j.report(RuleInitrdUnread, f.path, "is in no form of an initrd that is known here")
	case f.kernel == nil && f.initrd == nil && (strings.HasPrefix(name, "vmlinu") || name == "linux"):
		j.report(RuleKernelUnread, f.path, "is in no form of a kernel that is known here")
	}
}

// machines compares kernels and entrypoints with the platform.
func (j *judge) machines() {
	want := j.o.Platform.Architecture
	if want == "" {
		return
	}
	var other *facts
	fits := false
	for i := range j.files {
		f := &j.files[i]
		if k := f.kernel; k != nil {
			if k.architecture == want || k.architecture == "" {
				fits = true
			} else if other == nil {
				other = f
			}
		}
	}
	if other != nil && !fits {
		j.report(RuleKernelMachine, other.path, "is a kernel for %s, and the set is for %s", other.kernel.architecture, want)
	}
	for i := range j.files {
		j.machine(&j.files[i], want)
	}
}

// machine compares a program with the platform.
func (j *judge) machine(f *facts, want string) {
	if f.kernel != nil || f.program == nil {
		return
	}
	have := peArchitecture(f.program.machine)
	if have == want {
		return
	}
	what := have
	if what == "" {
		what = "an unknown machine"
	}
	switch {
	case slices.Contains(j.entrypoints(), f.path):
		j.report(RuleEntryMachine, f.path, "is a program for %s, and the set is for %s", what, want)
	case have == "" || !strings.Contains(strings.ToLower(path.Base(f.path)), efiSuffix(have)+"."):
		j.report(RuleEFIMachine, f.path, "is a program for %s, and the set is for %s", what, want)
	}
}
