package resolve

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// leaf is an index entry of this digest and platform.
func leaf(name, os, arch string, annotations ...string) ocispec.Descriptor {
	d := ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Annotations: map[string]string{"name": name},
		Platform: &ocispec.Platform{OS: os, Architecture: arch},
	}
	for i := 0; i < len(annotations); i += 2 {
		d.Annotations[annotations[i]] = annotations[i+1]
	}
	return d
}

func TestCandidates(t *testing.T) {
	mark := []string{spec.LabelVersion, "1"}
	plain, attestation := leaf("plain", "linux", "amd64"), leaf("attestation", "unknown", "unknown")
	marked, other := leaf("marked", "linux", "amd64", mark...), leaf("other", "linux", "arm64", mark...)
	disk := leaf("disk", "linux", "amd64", append(mark, spec.AnnotationDiskType, spec.DiskTypeQcow2)...)
	for _, test := range []struct {
		leaves []ocispec.Descriptor
		want   string
	}{
		{nil, ""},
		{[]ocispec.Descriptor{plain, attestation}, "plain"},
		{[]ocispec.Descriptor{plain, marked, disk, other}, "marked other"},
		{[]ocispec.Descriptor{plain, disk}, "plain"},
		{[]ocispec.Descriptor{disk, attestation}, ""},
	} {
		var got []string
		for _, c := range candidates(test.leaves) {
			got = append(got, c.desc.Annotations["name"])
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("candidates %q, want %q", got, test.want)
		}
	}
}

func TestPrefer(t *testing.T) {
	const a, i, n = spec.FormArtifact, spec.FormImage, spec.FormNboci
	type have struct {
		platform, system string
		form             spec.Form
	}
	many := make([]have, maxTwins+1)
	for k := range many {
		many[k] = have{"amd64", "", a}
	}
	many[0].form = i
	for _, test := range []struct {
		name string
		have []have
		want string // indexes of those that are left
	}{
		{"alone", []have{{"amd64", "", a}}, "0"},
		{"image and artifact", []have{{"amd64", "d-1", a}, {"x86_64", "", i}}, "1"},
		{"image and two artifacts", []have{{"amd64", "d-1", n}, {"amd64", "d-1", i}, {"amd64", "d-1", a}}, "1"},
		{"two systems", []have{{"amd64", "d-1", i}, {"amd64", "d-2", a}}, "0 1"},
		{"two platforms", []have{{"amd64", "", i}, {"arm64", "", a}}, "0 1"},
		{"two variants", []have{{"linux/arm/v7", "", i}, {"linux/arm/v6", "", a}}, "0 1"},
		{"two artifacts", []have{{"amd64", "", n}, {"amd64", "", a}}, "0 1"},
		{"two images", []have{{"amd64", "", i}, {"amd64", "", i}}, "0 1"},
		{"a crowd is not read", many, fmt.Sprint(len(many))},
	} {
		var all []candidate
		for _, h := range test.have {
			p, err := spec.ParsePlatform(h.platform)
			if err != nil {
				t.Fatal(err)
			}
			p.OSVersion = h.system
			all = append(all, candidate{platform: p, form: h.form, desc: ocispec.Descriptor{Size: int64(len(all))}})
		}
		left, err := (&Resolver{}).prefer(t.Context(), all)
		var got []string
		for _, c := range left {
			got = append(got, fmt.Sprint(c.desc.Size))
		}
		if test.want == fmt.Sprint(len(many)) {
			got = []string{fmt.Sprint(len(left))}
		}
		if strings.Join(got, " ") != test.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", test.name, got, err, test.want)
		}
	}
}

func TestPlatformErrorSays(t *testing.T) {
	amd, _ := spec.ParsePlatform("amd64")
	arm, _ := spec.ParsePlatform("arm64")
	amd.OSVersion = "d-1"
	twins := []Candidate{{amd, spec.FormArtifact, "sha256:a"}, {amd, spec.FormNboci, "sha256:b"}}
	for _, test := range []struct {
		err        PlatformError
		says, hint string
		code       int
	}{
		{PlatformError{}, "no netboot content", "nbextract list", 4},
		{PlatformError{Wanted: "linux/amd64", Unnamed: true}, "names no platform", "os.arch=amd64", 4},
		{PlatformError{Wanted: "linux/amd64", Several: true, Candidates: twins}, `linux/amd64 ("d-1", artifact), linux/amd64 ("d-1", nboci)`, "@sha256:a", 2},
		{PlatformError{Several: true, Candidates: twins}, "several entries", "@sha256:a", 2},
		{PlatformError{Several: true, Candidates: append(twins, Candidate{arm, "", ""})}, "linux/arm64", "--platform linux/amd64", 2},
		{PlatformError{Wanted: "linux/arm64", Candidates: twins}, "nothing for platform", "--platform linux/amd64", 4},
		{PlatformError{Several: true, Candidates: make([]Candidate, 100)}, "and 88 more", "", 2},
	} {
		if got := test.err.Error(); !strings.Contains(got, test.says) {
			t.Errorf("%q does not say %q", got, test.says)
		}
		if got := test.err.Hint(); !strings.Contains(got, test.hint) || test.err.ExitCode() != test.code {
			t.Errorf("%+v: hint %q, code %d", test.err, got, test.err.ExitCode())
		}
	}
}
