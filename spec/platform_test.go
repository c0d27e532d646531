package spec

import (
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParsePlatform(t *testing.T) {
	for s, want := range map[string]string{
		"linux/amd64": "linux/amd64", "amd64": "linux/amd64", "x86_64": "linux/amd64", "X86_64": "linux/amd64", "x86-64": "linux/amd64",
		"linux/x86_64": "linux/amd64", "linux/amd64/v1": "linux/amd64", "linux/amd64/v3": "linux/amd64/v3", "amd64v3": "linux/amd64/v3",
		"aarch64": "linux/arm64", "arm64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/aarch64/8": "linux/arm64", "linux/arm64/v9": "linux/arm64/v9",
		"arm": "linux/arm", "linux/arm/v7": "linux/arm/v7", "linux/arm/7": "linux/arm/v7", "armhf": "linux/arm/v7", "armv7": "linux/arm/v7", "armv7l": "linux/arm/v7",
		"linux/armhf/v6": "linux/arm/v6", "armel": "linux/arm/v5", "armv6": "linux/arm/v6", "armv6l": "linux/arm/v6", "armv8l": "linux/arm/v8",
		"ppc64el": "linux/ppc64le", "ppc64le": "linux/ppc64le", "powerpc64le": "linux/ppc64le", "ppc64": "linux/ppc64",
		"i386": "linux/386", "i486": "linux/386", "i586": "linux/386", "i686": "linux/386", "x86": "linux/386", "386": "linux/386",
		"riscv64": "linux/riscv64", "s390x": "linux/s390x", "loongarch64": "linux/loong64", "loong64": "linux/loong64",
		"mips64el": "linux/mips64le", "freebsd/amd64": "freebsd/amd64", "linux/newarch": "linux/newarch", "Linux/AMD64": "linux/amd64",
		"": "", "/": "", "linux": "", "linux/": "", "/amd64": "", "linux/amd64/v1/x": "", "x68_64": "", "all": "", "armhfv6": "", "linux/../x": "",
		"unknown/unknown": "", "linux/unknown": "", "linux/amd 64": "", "linux/amd64\n": "", "linux/ä": "",
	} {
		p, err := ParsePlatform(s)
		if (err != nil) != (want == "") || err == nil && p.String() != want {
			t.Errorf("ParsePlatform(%q) = %q, %v, want %q", s, p, err, want)
		}
	}
}

func TestPlatformArch(t *testing.T) {
	for s, want := range map[string]string{
		"x86_64": "amd64", "armhf": "armv7", "aarch64": "arm64", "i686": "386", "linux/arm": "arm", "linux/amd64/v2": "amd64v2", "ppc64el": "ppc64le",
	} {
		p, err := ParsePlatform(s)
		if err != nil || p.Arch() != want {
			t.Errorf("%s: %q, %v, want %q", s, p.Arch(), err, want)
		}
		if back, err := ParsePlatform(want); err != nil || back != p {
			t.Errorf("%s: the label %s reads as %v, %v", s, want, back, err)
		}
	}
}

func TestPlatformOf(t *testing.T) {
	for _, test := range []struct {
		in   *ocispec.Platform
		want Platform
		ok   bool
	}{
		{nil, Platform{}, false},
		{&ocispec.Platform{}, Platform{}, false},
		{&ocispec.Platform{OS: "unknown", Architecture: "unknown"}, Platform{}, false},
		{&ocispec.Platform{OS: "linux", Architecture: "Unknown"}, Platform{}, false},
		{&ocispec.Platform{OS: "linux"}, Platform{}, false},
		{&ocispec.Platform{Architecture: "amd64"}, Platform{}, false},
		{&ocispec.Platform{OS: "linux", Architecture: "../x"}, Platform{}, false},
		{&ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7/x"}, Platform{}, false},
		{&ocispec.Platform{OS: "linux", Architecture: "aarch64", Variant: "v8"}, Platform{OS: "linux", Architecture: "arm64"}, true},
		{&ocispec.Platform{OS: "Linux", Architecture: "armhf", OSVersion: "debian-12"},
			Platform{OS: "linux", Architecture: "arm", Variant: "v7", OSVersion: "debian-12"}, true},
	} {
		got, ok := PlatformOf(test.in)
		if got != test.want || ok != test.ok {
			t.Errorf("PlatformOf(%v) = %v, %v", test.in, got, ok)
		}
	}
	p := Platform{OS: "linux", Architecture: "arm", Variant: "v7", OSVersion: "x"}
	if back, ok := PlatformOf(p.OCI()); !ok || back != p {
		t.Errorf("OCI gives %v", p.OCI())
	}
}

// TestSelect has the cases in which another library falls back to an entry
// that nobody asked for.
func TestSelect(t *testing.T) {
	have := func(platforms ...string) []Platform {
		var list []Platform
		for _, s := range platforms {
			var p Platform // "" stands for an artifact without platform
			if s != "" {
				name, version, _ := strings.Cut(s, "@")
				parts := strings.Split(name, "/")
				p = Platform{OS: parts[0], Architecture: parts[1], OSVersion: version}
				if len(parts) == 3 {
					p.Variant = parts[2]
				}
			}
			list = append(list, p)
		}
		return list
	}
	mixed := have("linux/amd64", "linux/arm64/v8", "linux/arm/v7", "")
	for _, test := range []struct {
		want string
		have []Platform
		got  []int
	}{
		{"x86_64", mixed, []int{0}},
		{"amd64", mixed, []int{0}},
		{"aarch64", mixed, []int{1}},
		{"linux/arm64", mixed, []int{1}},
		{"linux/arm64/v8", mixed, []int{1}},
		{"armhf", mixed, []int{2}},
		{"arm", mixed, []int{2}},
		{"linux/arm/v6", mixed, nil},
		{"linux/arm/v8", mixed, nil},
		{"linux/amd64/v2", mixed, nil},
		{"linux/arm64/v9", mixed, nil},
		{"ppc64el", mixed, nil},
		{"freebsd/amd64", mixed, nil},
		{"amd64", have(""), nil},
		{"amd64", nil, nil},
		{"amd64", have("linux/x86_64"), []int{0}},
		{"arm64", have("linux/aarch64", "linux/arm64"), []int{0, 1}},
		{"amd64", have("linux/amd64/v2"), nil},
		{"amd64", have("linux/amd64/v2", "linux/amd64"), []int{1}},
		{"arm", have("linux/arm/v6", "linux/arm/v7"), []int{0, 1}},
		{"arm", have("linux/arm/v6", "linux/arm", "linux/arm/v7"), []int{1}},
		{"armv7", have("linux/arm"), nil},
		{"amd64", have("linux/amd64@fedora-41", "linux/amd64@fedora-42"), []int{0, 1}},
	} {
		want, err := ParsePlatform(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := Select(want, test.have); !slices.Equal(got, test.got) {
			t.Errorf("Select(%s, %v) = %v, want %v", test.want, test.have, got, test.got)
		}
	}
	want := Platform{OS: "linux", Architecture: "x86_64", OSVersion: "fedora-42"}
	if got := Select(want, have("linux/amd64@fedora-41", "linux/amd64@fedora-42", "linux/amd64")); !slices.Equal(got, []int{1}) {
		t.Errorf("with os.version: %v", got)
	}
	if got := Select(Platform{}, have("", "linux/amd64")); got != nil {
		t.Errorf("nothing wanted: %v", got)
	}
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux/amd64", "armhf", "linux/arm/7", "arm64v8", "amd64v3", "linux/armv7/v6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlatform(s)
		if err != nil {
			return
		}
		if again, err := ParsePlatform(p.String()); err != nil || again != p {
			t.Errorf("%q gives %v, and that gives %v, %v", s, p, again, err)
		}
		if of, ok := PlatformOf(p.OCI()); !ok || of != p {
			t.Errorf("%q gives %v, and its OCI form %v, %v", s, p, of, ok)
		}
		if !p.Matches(p) || !slices.Equal(Select(p, []Platform{{}, p}), []int{1}) {
			t.Errorf("%v does not match itself", p)
		}
		if CheckPath(p.Arch()) != nil && !strings.Contains(p.Arch(), ".wh.") {
			t.Errorf("%q has the label %q, which is no path", s, p.Arch())
		}
	})
}
