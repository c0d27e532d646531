package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// short gives labels as "key=value" without their prefix, sorted.
func short(labels map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, strings.TrimPrefix(key, LabelPrefix)+"="+labels[key])
	}
	return strings.Join(all, " ")
}

// long is the opposite of short.
func long(labels string) map[string]string {
	all := map[string]string{}
	for _, field := range strings.Fields(labels) {
		key, value, _ := strings.Cut(field, "=")
		all[LabelPrefix+key] = value
	}
	return all
}

func TestArtifactLabels(t *testing.T) {
	for _, test := range []struct {
		name            string
		manifest, entry string // annotations; entry "-" for none
		platform        string // of the entry: os/arch/variant os.version
		want, rule      string
	}{
		{"lone", "os.name=a os.version=1 os.arch=amd64", "-", "", "os.arch=amd64 os.name=a os.version=1", ""},
		{"lone, no platform", "os.name=a", "-", "", "os.name=a", ""},
		{"lone, by the platform of an index", "index.platform=linux(a-1)/arm/v7", "-", "", "index.platform=linux(a-1)/arm/v7 os.arch=armv7", ""},
		{"podman", "", "version=1", "linux/amd64 fedora-40", "os.arch=amd64 os.name=fedora os.version=40 version=1", ""},
		{"the name has dashes", "", "", "linux/arm64 centos-stream-9", "os.arch=arm64 os.name=centos-stream os.version=9", ""},
		{"no dash", "", "", "linux/arm64 10.0.14393", "os.arch=arm64", ""},
		{"nothing behind the dash", "", "", "linux/arm64 fedora-", "os.arch=arm64", ""},
		{"nothing before it", "", "", "linux/arm64 -40", "os.arch=arm64", ""},
		{"the version has a dash", "os.version=42-beta", "", "linux/amd64 fedora-42-beta", "os.arch=amd64 os.name=fedora os.version=42-beta", ""},
		{"the name alone", "os.name=fedora-core", "", "linux/amd64 fedora-core-1-2", "os.arch=amd64 os.name=fedora-core os.version=1-2", ""},
		{"both and the same", "os.name=a os.version=1", "os.name=a", "linux/amd64 a-1", "os.arch=amd64 os.name=a os.version=1", ""},
		{"alias, verbatim", "os.arch=aarch64", "", "linux/arm64", "os.arch=aarch64", ""},
		{"unknown architecture, verbatim", "os.arch=toaster", "", "linux/arm64", "os.arch=toaster", ""},
		{"entrypoint of the entry", "", "entrypoint=shim.efi", "linux/amd64", "entrypoint=shim.efi os.arch=amd64", ""},
		{"variant", "", "", "linux/arm/v7", "os.arch=armv7", ""},
		{"no platform in the entry", "", "version=1", "", "version=1", ""},

		{"entry disagrees", "os.name=a", "os.name=b", "linux/amd64", "", RuleLabelsAgree},
		{"name disagrees", "os.name=a", "", "linux/amd64 b-1", "", RuleLabelsAgree},
		{"version disagrees", "os.version=2", "", "linux/amd64 b-1", "", RuleLabelsAgree},
		{"both, other parting", "os.name=a os.version=1", "", "linux/amd64 a-x-1", "", RuleLabelsAgree},
		{"architecture disagrees", "os.arch=x86_64", "", "linux/arm64", "", RulePlatform},
		{"variant disagrees", "os.arch=armv6", "", "linux/arm/v7", "", RulePlatform},
		{"index platform disagrees", "index.platform=linux/amd64", "", "linux/arm64", "", RulePlatform},
		{"index platform and label disagree", "index.platform=linux/amd64 os.arch=arm64", "-", "", "", RulePlatform},
		{"index platform is none", "index.platform=amd64", "-", "", "", RulePlatform},
	} {
		t.Run(test.name, func(t *testing.T) {
			var entry *ocispec.Descriptor
			if test.entry != "-" {
				entry = &ocispec.Descriptor{Annotations: long(test.entry)}
			}
			if test.platform != "" {
				name, version, _ := strings.Cut(test.platform, " ")
				parts := append(strings.Split(name, "/"), "")
				entry.Platform = &ocispec.Platform{OS: parts[0], Architecture: parts[1], Variant: parts[2], OSVersion: version}
			}
			m := &ocispec.Manifest{Annotations: long(test.manifest)}
			m.Annotations["other"] = "x"
			got, err := ArtifactLabels(m, entry)
			if test.rule != "" {
				wantRule(t, err, test.rule)
			} else if err != nil || short(got) != test.want {
				t.Errorf("%q, %v, want %q", short(got), err, test.want)
			}
		})
	}
}

func TestArtifactPlatform(t *testing.T) {
	entry := func(os, arch string) *ocispec.Descriptor {
		return &ocispec.Descriptor{Platform: &ocispec.Platform{OS: os, Architecture: arch, OSVersion: "a-1"}}
	}
	for _, test := range []struct {
		labels string
		entry  *ocispec.Descriptor
		want   string
	}{
		{"", nil, ""},
		{"os.arch=x86_64", nil, "linux/amd64"},
		{"os.arch=X86_64", nil, "linux/amd64"},
		{"os.arch=armv7", nil, "linux/arm/v7"},
		{"os.arch=toaster", nil, ""},
		{"index.platform=freebsd(14)/amd64 os.arch=amd64", nil, "freebsd/amd64 14"},
		{"", entry("linux", "aarch64"), "linux/arm64 a-1"},
		{"os.arch=aarch64", entry("windows", "arm64"), "windows/arm64 a-1"},
		{"", entry("unknown", "unknown"), ""},
		{"os.arch=amd64", entry("unknown", "unknown"), "linux/amd64"},
		{"", &ocispec.Descriptor{}, ""},
	} {
		p, ok, err := ArtifactPlatform(long(test.labels), test.entry)
		got := ""
		if ok {
			got = strings.TrimSpace(fmt.Sprint(p, " ", p.OSVersion))
		}
		if got != test.want || err != nil {
			t.Errorf("%q, %v: %q, %v, want %q", test.labels, test.entry, got, err, test.want)
		}
	}
}

func TestEntryLabels(t *testing.T) {
	labels := long("os.name=a")
	got, err := entryLabels(labels, &ocispec.Descriptor{Annotations: map[string]string{LabelVersion: "1", "disktype": "netboot"}})
	if err != nil || short(got) != "os.name=a version=1" || len(labels) != 1 {
		t.Errorf("%v, %v; before %v", got, err, labels)
	}
	if got, err := entryLabels(nil, nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}
