package extract

import (
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

func TestLivePath(t *testing.T) {
	full := map[string]string{spec.LabelOSName: "fedora", spec.LabelOSVersion: "40", spec.LabelOSArch: "armv7"}
	with := func(key, value string) map[string]string {
		labels, err := withSet(full, nil)
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
		{"nonsense", full, "", 2},
	} {
		got, err := livePath(tc.layout, tc.labels)
		if got != tc.want || exitCode(err) != tc.code {
			t.Errorf("livePath(%q, %v) = %q, %v (code %d), want %q, code %d",
				tc.layout, tc.labels, got, err, exitCode(err), tc.want, tc.code)
		}
	}
}

func TestWithSet(t *testing.T) {
	got, err := withSet(map[string]string{spec.LabelOSName: "a"}, map[string]string{"os.name": "b", spec.LabelOSArch: "c"})
	if err != nil || got[spec.LabelOSName] != "b" || got[spec.LabelOSArch] != "c" {
		t.Errorf("withSet = %v, %v", got, err)
	}
	for key, value := range map[string]string{"os.name": "../x", "entrypoint": "x", "": "x"} {
		if _, err := withSet(nil, map[string]string{key: value}); exitCode(err) != 2 {
			t.Errorf("withSet(%q=%q): %v, want a usage error", key, value, err)
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

func FuzzLivePath(f *testing.F) {
	f.Add("default", "fedora", "40", "amd64")
	f.Add("{os.name}/../{os.arch}", "..", "40", "a/b")
	f.Add("x/{os.name}{", "a", "", "")
	f.Add("flat", "", "", "")
	f.Fuzz(func(t *testing.T, layout, name, version, arch string) {
		live, err := livePath(layout, map[string]string{
			spec.LabelOSName: name, spec.LabelOSVersion: version, spec.LabelOSArch: arch,
		})
		if err != nil || live == "." {
			return
		}
		if err := spec.CheckPath(live); err != nil {
			t.Errorf("livePath(%q, %q, %q, %q) = %q: %v", layout, name, version, arch, live, err)
		}
	})
}
