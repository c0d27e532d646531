package layout

import (
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

func labelled(name, version, arch string) map[string]string {
	return map[string]string{spec.LabelOSName: name, spec.LabelOSVersion: version, spec.LabelOSArch: arch}
}

func live(layout string, labels map[string]string) (string, error) {
	l, err := Parse(layout)
	if err != nil {
		return "", err
	}
	return l.Live(labels)
}

func TestLive(t *testing.T) {
	full := labelled("fedora", "40", "armv7")
	with := func(key, value string) map[string]string {
		labels, err := WithSet(full, nil)
		if err != nil {
			t.Fatal(err)
		}
		labels[key] = value
		return labels
	}
	for _, tc := range []struct {
		layout string
		labels map[string]string
		want   string
		code   int // of the error, 0 for none
	}{
		{"", full, "fedora/40/armv7", 0},
		{"default", full, "fedora/40/armv7", 0},
		{"flat", nil, ".", 0},
		{"boot/{os.name}-{os.version}", full, "boot/fedora-40", 0},
		{"{os.name}//x/", full, "fedora/x", 0},
		{"{arch.oci}/{arch.rpm}/{arch.deb}/{arch.efi}", full, "armv7/armv7hl/armhf/arm", 0},
		{"{arch.oci}/{arch.rpm}/{arch.deb}/{arch.efi}", labelled("x", "1", "amd64"), "amd64/x86_64/amd64/x64", 0},
		{"{arch.oci}/{arch.rpm}/{arch.deb}/{arch.efi}", labelled("x", "1", "aarch64"), "arm64/aarch64/arm64/aa64", 0},
		{"{arch.oci}/{arch.rpm}/{arch.deb}", labelled("x", "1", "ppc64le"), "ppc64le/ppc64le/ppc64el", 0},
		{"{arch.efi}/x", labelled("x", "1", "ppc64le"), "", 3},
		{"{arch.rpm}/x", labelled("x", "1", "z80"), "", 3},
		{"nboci", labelled("rhel", "9.6", "amd64"), "rhel/9.6/x86_64", 0},
		{"foreman", labelled("CentOS_Stream", "10", "arm64"), "bootloader-universe/pxegrub2/centos_stream/10/aarch64", 0},
		{"cobbler", labelled("debian", "12", "amd64"), "netboot/debian-12-x86_64", 0},
		{"matchbox", labelled("flatcar", "4230.2.1", "amd64"), "flatcar/4230.2.1", 0},
		{"tinkerbell", labelled("hook", "0.10", "arm64"), "hook/0.10/aarch64", 0},
		{"debian", labelled("debian", "12", "ppc64le"), "debian-installer/ppc64el", 0},
		{"ubuntu", labelled("ubuntu", "26.04", "amd64"), "amd64", 0},
		{"default", nil, "", 3},
		{"default", with(spec.LabelOSName, "../x"), "", 3},
		{"default", with(spec.LabelOSName, ".."), "", 3},
		{"default", with(spec.LabelOSName, "a/b"), "", 3},
		{"default", with(spec.LabelOSName, ""), "", 3},
		{"default", with(spec.LabelOSVersion, strings.Repeat("9", 65)), "", 3},
		{"../{os.name}", full, "", 2},
		{"/abs/{os.name}", full, "", 2},
		{"by-digest/{os.name}", full, "", 2},
		{".nbextract/{os.name}", full, "", 2},
		{"{os.name", full, "", 2},
		{"{os.shape}", full, "", 2},
		{"{arch.bsd}", full, "", 2},
		{"nonsense", full, "", 2},
	} {
		got, err := live(tc.layout, tc.labels)
		if got != tc.want || exitCode(err) != tc.code {
			t.Errorf("live(%q, %v) = %q, %v (code %d), want %q, code %d", tc.layout, tc.labels, got, err, exitCode(err), tc.want, tc.code)
		}
	}
}

// TestArchs: what stands in a path is what the rest of the program reads, too.
func TestArchs(t *testing.T) {
	for _, a := range archs() {
		for _, name := range []string{a.oci, a.rpm} {
			if p, err := spec.ParsePlatform(name); err != nil || p.Arch() != a.oci {
				t.Errorf("%q: %v %v, want %q", name, p, err, a.oci)
			}
		}
	}
}

func TestWithSet(t *testing.T) {
	got, err := WithSet(map[string]string{spec.LabelOSName: "a"}, map[string]string{"os.name": "b", spec.LabelOSArch: "c"})
	if err != nil || got[spec.LabelOSName] != "b" || got[spec.LabelOSArch] != "c" {
		t.Errorf("WithSet = %v, %v", got, err)
	}
	for key, value := range map[string]string{"os.name": "../x", "entrypoint": "x", "": "x"} {
		if _, err := WithSet(nil, map[string]string{key: value}); exitCode(err) != 2 {
			t.Errorf("WithSet(%q=%q): %v, want a usage error", key, value, err)
		}
	}
}

// exitCode is the code that an error asks for, 0 for nil and 1 for none.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(interface{ ExitCode() int }); ok {
		return e.ExitCode()
	}
	return 1
}

func FuzzLive(f *testing.F) {
	f.Add("default", "fedora", "40", "amd64")
	f.Add("{os.name}/../{os.arch}", "..", "40", "a/b")
	f.Add("x/{os.name}{", "a", "", "")
	f.Add("foreman", "A", "1", "x86_64")
	f.Add("flat", "", "", "")
	f.Fuzz(func(t *testing.T, layout, name, version, arch string) {
		got, err := live(layout, labelled(name, version, arch))
		if err != nil || got == Flat {
			return
		}
		if err := spec.CheckPath(got); err != nil {
			t.Errorf("live(%q, %q, %q, %q) = %q: %v", layout, name, version, arch, got, err)
		}
	})
}
