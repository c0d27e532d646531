package resolve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/spec"
)

// opened gives a resolver of a reference on a shelf, and what the reference names.
func opened(t *testing.T, reg *testshelf.Shelf, tag string) (*Resolver, ocispec.Descriptor) {
	t.Helper()
	client, ref := reg.Client(t, "boot:"+tag)
	src, err := client.Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	top, err := src.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &Resolver{Source: src, Reference: ref.String()}, top
}

// shelf has under "all" an index of two boot trees, one of them in an index below it, of an
// attestation, and of an entry that says another platform than its config.
func shelf(t *testing.T) *testshelf.Shelf {
	reg := testshelf.New(t)
	amd, arm := reg.Push("boot", "amd", testshelf.Boot{Version: "1"}), reg.Push("boot", "arm", testshelf.Boot{Version: "1", Arch: "arm64"})
	notes := amd
	notes.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	inner := reg.Index("boot", "inner", testshelf.On("arm64", arm))
	reg.Index("boot", "all", testshelf.On("amd64", amd), inner, notes, testshelf.On("riscv64", arm))
	return reg
}

// TestTargets: what platforms choose below an index comes with all that its documents say.
func TestTargets(t *testing.T) {
	reg := shelf(t)
	for _, test := range []struct {
		wanted  []string
		lenient bool
		want    string // platforms, in their order
		code    int
	}{
		{[]string{"amd64"}, false, "linux/amd64", 0},
		{[]string{"aarch64", "x86_64"}, false, "linux/arm64 linux/amd64", 0},
		{nil, false, "", 2},
		{[]string{"all"}, false, "", 3}, // of riscv64 the index is wrong
		{[]string{"amd64", "s390x"}, false, "", 4},
		{[]string{"amd64", "s390x"}, true, "linux/amd64", 0},
		{[]string{"s390x"}, true, "", 4},
	} {
		r, top := opened(t, reg, "all")
		r.Lenient = test.lenient
		targets, err := r.Targets(t.Context(), top, test.wanted)
		var got []string
		for _, target := range targets {
			got = append(got, target.PlatformName())
			if target.Form != spec.FormImage || target.Labels[spec.LabelOSVersion] != "1" || len(target.Holds) != 2 || target.Holds[1].Path != "." {
				t.Errorf("%q: a target is %+v", test.wanted, target)
			}
			if err := spec.FirstError(spec.CheckDocuments(target.Image())); err != nil {
				t.Errorf("%q: %v", test.wanted, err)
			}
		}
		if strings.Join(got, " ") != test.want || exitCode(err) != test.code {
			t.Errorf("%q give %q, %v, want %q, code %d", test.wanted, got, err, test.want, test.code)
		}
	}
}

// TestEach: every entry of an index is told of, as what it is.
func TestEach(t *testing.T) {
	r, top := opened(t, shelf(t), "all")
	var got []string
	err := r.Each(t.Context(), top, func(d ocispec.Descriptor, target *Target, err error) error {
		said := "something else"
		if target != nil {
			said = target.PlatformName()
		} else if err != nil {
			said = fmt.Sprint("code ", exitCode(err))
		}
		got = append(got, d.Platform.Architecture+": "+said)
		return nil
	})
	want := []string{"amd64: linux/amd64", "arm64: linux/arm64", "unknown: something else", "riscv64: code 3"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	enough := errors.New("enough")
	if err := r.Each(t.Context(), top, func(ocispec.Descriptor, *Target, error) error { return enough }); err != enough {
		t.Errorf("the walk ends with %v", err)
	}
}

// TestEachSystem: one manifest for two versions of a system is told of twice, as the target
// of either.
func TestEachSystem(t *testing.T) {
	reg := testshelf.New(t)
	amd := reg.Push("boot", "amd", testshelf.Boot{Version: "1"})
	var entries []ocispec.Descriptor
	for _, version := range []string{"41", "42"} {
		d := testshelf.On("amd64", amd)
		d.Platform.OSVersion = version
		entries = append(entries, d)
	}
	reg.Index("boot", "all", entries...)
	r, top := opened(t, reg, "all")
	var got []string
	err := r.Each(t.Context(), top, func(d ocispec.Descriptor, target *Target, err error) error {
		if target == nil {
			return fmt.Errorf("%s: %w", d.Platform.OSVersion, err)
		}
		got = append(got, d.Platform.OSVersion+" "+target.entry.Platform.OSVersion)
		return nil
	})
	if want := []string{"41 41", "42 42"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// remembered is a Memory of one image.
type remembered struct{ image *bootdir.Image }

func (m remembered) Image(digest string) (*bootdir.Image, error) {
	if digest != m.image.Digest {
		return nil, nil
	}
	return m.image, nil
}

// TestRecall: what is remembered is not asked for.
func TestRecall(t *testing.T) {
	reg := shelf(t)
	r, top := opened(t, reg, "amd")
	targets, err := r.Targets(t.Context(), top, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := targets[0]
	reg.Asked()
	r.Memory = remembered{&bootdir.Image{
		Digest: top.Digest.String(), MediaType: top.MediaType, Manifest: first.ManifestBytes, Config: first.ConfigBytes,
	}}
	r.read = nil
	again, err := r.Recall(t.Context(), top.Digest.String())
	if err != nil || again.PlatformName() != "linux/amd64" || again.Descriptor.Size != top.Size {
		t.Errorf("recalled is %+v, %v", again, err)
	}
	if asked := reg.Asked(); len(asked) > 0 {
		t.Errorf("the registry was asked %q", asked)
	}
}

// TestRecallArtifact: what an index said of an artifact stands in the memory alone.
func TestRecallArtifact(t *testing.T) {
	reg := testshelf.New(t)
	layer := reg.Blob("boot", "application/octet-stream", []byte("kernel"))
	layer.Annotations = map[string]string{ocispec.AnnotationTitle: "vmlinuz"}
	body, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "a/b",
		Config: reg.Blob("boot", ocispec.MediaTypeEmptyJSON, []byte("{}")), Layers: []ocispec.Descriptor{layer},
	})
	if err != nil {
		t.Fatal(err)
	}
	reg.Put("boot", "plain", ocispec.MediaTypeImageManifest, body)
	r, top := opened(t, reg, "plain")
	targets, err := r.Targets(t.Context(), top, nil)
	if err != nil || len(targets) != 1 || targets[0].PlatformName() != "" || targets[0].Holds[0].Path != "vmlinuz" {
		t.Fatalf("without a memory: %+v, %v", targets, err)
	}
	r.Memory = remembered{&bootdir.Image{
		Digest: top.Digest.String(), MediaType: top.MediaType, Manifest: body,
		Platform: "linux/arm64", Labels: map[string]string{spec.LabelOSName: "os"},
	}}
	again, err := r.Recall(t.Context(), top.Digest.String())
	if err != nil || again.PlatformName() != "linux/arm64" || again.Labels[spec.LabelOSName] != "os" {
		t.Errorf("recalled is %+v, %v", again, err)
	}
}

// TestAdmitBeforeReading: who is not admitted is not read.
func TestAdmitBeforeReading(t *testing.T) {
	reg := shelf(t)
	r, top := opened(t, reg, "amd")
	reg.Asked()
	denied := errors.New("denied")
	r.Admit = func(context.Context, ocispec.Descriptor) error { return denied }
	if _, err := r.Targets(t.Context(), top, nil); !errors.Is(err, denied) || !strings.Contains(err.Error(), r.Reference) {
		t.Errorf("got %v", err)
	}
	if asked := reg.Asked(); len(asked) > 0 {
		t.Errorf("the registry was asked %q", asked)
	}
}
