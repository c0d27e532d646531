package extract

import (
	"fmt"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

func recordsOf(layers ...bootdir.Layer) layerIndex {
	x := newLayerIndex()
	for i := range layers {
		x.add(knownLayer{&layers[i], &bootdir.Image{}})
	}
	return x
}

// One blob is different things as a file, as the compressed form of one, and
// as a tar: what is known of one says nothing of the others.
func TestRecordsOfOneBlob(t *testing.T) {
	blob, content := digest.FromString("blob"), digest.FromString("content").Encoded()
	raw := bootdir.Layer{Digest: string(blob), MediaType: "a/b", Entries: []spec.Entry{{Path: "x", Type: spec.TypeFile, SHA256: blob.Encoded(), Size: 4}}}
	packed := bootdir.Layer{Digest: string(blob), MediaType: spec.MediaTypeFileZstd, Entries: []spec.Entry{{Path: "y", Type: spec.TypeFile, SHA256: content, Size: 7}}}
	tar := bootdir.Layer{Digest: string(blob), MediaType: ocispec.MediaTypeImageLayerGzip, DiffID: "d", Entries: []spec.Entry{{Path: "dir/z", Type: spec.TypeFile, SHA256: content, Size: 7}}}
	fileOf := func(mediaType string) layer {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: blob, Size: 4, Annotations: map[string]string{ocispec.AnnotationTitle: "new"}}
		holds, _, err := spec.ParseArtifactLayer(d)
		if err != nil {
			t.Fatal(err)
		}
		return &fileLayer{desc: d, holds: holds}
	}
	dirOf := func(title string, diffID digest.Digest) layer {
		return &tarLayer{desc: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: blob},
			holds: spec.ArtifactLayer{Path: title, Dir: true, Digest: diffID}}
	}
	for _, test := range []struct {
		name  string
		known layerIndex
		layer layer
		want  string // path, checksum and size, or nothing
	}{
		{"a file is what it is", recordsOf(), fileOf("a/b"), "new " + blob.Encoded()[:8] + " 4"},
		{"compressed, never seen", recordsOf(raw, tar), fileOf(spec.MediaTypeFileZstd), "new  -1"},
		{"compressed, seen", recordsOf(raw, packed), fileOf(spec.MediaTypeFileZstd), "new " + content[:8] + " 7"},
		{"directory, never seen", recordsOf(raw, packed), dirOf("dir", ""), ""},
		{"directory, seen by its blob", recordsOf(tar), dirOf("dir", ""), "dir/z " + content[:8] + " 7"},
		{"directory, seen by its diff ID", recordsOf(tar), dirOf("dir", "d"), "dir/z " + content[:8] + " 7"},
		{"directory, another diff ID", recordsOf(tar), dirOf("dir", "e"), ""},
		{"directory under another name", recordsOf(tar), dirOf("other", "d"), ""},
		{"tar of an image", recordsOf(tar), dirOf(".", "d"), "dir/z " + content[:8] + " 7"},
		{"nothing is made of the placeholder", recordsOf(), emptyLayer{}, ""},
	} {
		entries, ok := test.layer.foresee(test.known)
		got := ""
		for _, e := range entries {
			got = fmt.Sprintf("%s %.8s %d", e.Path, e.SHA256, e.Size)
		}
		_, empty := test.layer.(emptyLayer)
		if got != test.want || ok != (test.want != "" || empty) {
			t.Errorf("%s: %q, %v, want %q", test.name, got, ok, test.want)
		}
	}
}

func TestPromises(t *testing.T) {
	artifact := &resolve.Target{Form: spec.FormTitled, Manifest: &ocispec.Manifest{}}
	file := func(title, content string) {
		d := ocispec.Descriptor{MediaType: "a/b", Digest: digest.FromString(content), Size: 1, Annotations: map[string]string{ocispec.AnnotationTitle: title}}
		holds, _, err := spec.ParseArtifactLayer(d)
		if err != nil {
			t.Fatal(err)
		}
		artifact.Manifest.Layers, artifact.Holds = append(artifact.Manifest.Layers, d), append(artifact.Holds, holds)
	}
	file("shim", "s")
	file("BOOT", "s")
	file("BOOTA", "other")
	file("sub/BOOT", "s")
	file("sub/BOOTL", "s")
	artifact.Manifest.Layers, artifact.Holds = append(artifact.Manifest.Layers, ocispec.DescriptorEmptyJSON), append(artifact.Holds, spec.ArtifactLayer{})
	in := newIntake(nil, artifact, layerIndex{}, nowhere{}, nil)
	var names []string
	for p := range in.sums {
		names = append(names, p)
	}
	slices.Sort(names)
	if want := "[BOOTA shim sub/BOOT sub/BOOTL]"; fmt.Sprint(names) != want {
		t.Errorf("promised are %q, want %s: only BOOT is a copy of an ordinary file beside it", names, want)
	}
	if in.exact || !in.may("shim") || in.may("SHA256SUM") {
		t.Error("an artifact without a list has one")
	}
	if err := in.setSums([]spec.Sum{{Path: "shim", SHA256: "0"}}); exitCode(err) != 3 {
		t.Errorf("a list that contradicts the manifest: %v", err)
	}
}
