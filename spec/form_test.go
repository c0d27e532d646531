package spec

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// rawLayer is a layer that is a file as it is.
func rawLayer(mediaType, title, content string) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(content), Size: int64(len(content))}
	if title != "" {
		d.Annotations = map[string]string{ocispec.AnnotationTitle: title}
	}
	return d
}

// noConfig is the config of a manifest that needs none.
func noConfig() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeEmptyJSON, Digest: digest.FromString("{}"), Size: 2}
}

func TestFormOf(t *testing.T) {
	const stream, tar, gz = "application/octet-stream", ocispec.MediaTypeImageLayer, ocispec.MediaTypeImageLayerGzip
	image := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("x"), Size: 1}
	named := []ocispec.Descriptor{rawLayer(stream, "vmlinuz", "k")}
	entry := &ocispec.Descriptor{Annotations: map[string]string{LabelVersion: "1"}}
	for _, test := range []struct {
		name         string
		artifactType string
		config       ocispec.Descriptor
		layers       []ocispec.Descriptor
		entry        *ocispec.Descriptor
		want         Form
	}{
		{"image", "", image, []ocispec.Descriptor{rawLayer(gz, "", "l")}, nil, FormImage},
		{"image with an artifactType", "a/b", image, []ocispec.Descriptor{rawLayer(gz, "", "l")}, nil, FormImage},
		{"image pushed by ORAS", "", image, []ocispec.Descriptor{rawLayer(gz, "layer.tgz", "l")}, entry, FormImage},
		{"image without layers", "", image, nil, nil, FormImage},
		{"artifact", ArtifactType, noConfig(), named, nil, FormArtifact},
		{"artifact without titles", ArtifactType, noConfig(), []ocispec.Descriptor{rawLayer(stream, "", "k")}, nil, FormArtifact},
		{"artifact in an index", ArtifactType, noConfig(), named, entry, FormArtifact},
		{"artifact of compressed files", ArtifactType, noConfig(), []ocispec.Descriptor{rawLayer(MediaTypeFileZstd, "k", "k")}, nil, FormArtifact},
		{"artifact with the config of an image", ArtifactType, image, []ocispec.Descriptor{rawLayer(gz, "", "l")}, nil, FormArtifact},
		{"nboci", "application/vnd.unknown.artifact.v1", noConfig(), []ocispec.Descriptor{rawLayer(MediaTypeFileZstd, "k", "k")}, nil, FormNboci},
		{"nboci, one file only", "", noConfig(), []ocispec.Descriptor{rawLayer(stream, "a", "a"), rawLayer(MediaTypeFileZstd, "k", "k")}, entry, FormNboci},
		{"podman", "application/vnd.unknown.artifact.v1", noConfig(), named, entry, FormPodman},
		{"podman with a config file", "a/b", image, named, entry, FormPodman},
		{"podman, no index led here", "a/b", noConfig(), named, nil, FormTitled},
		{"podman, entry without the annotation", "a/b", noConfig(), named, &ocispec.Descriptor{}, FormTitled},
		{"ORAS", "", rawLayer("application/vnd.unknown.config.v1+json", "", "{}"), []ocispec.Descriptor{rawLayer(tar, "vmlinuz", "k")}, nil, FormTitled},
		{"ORAS, some titles", "a/b", noConfig(), []ocispec.Descriptor{rawLayer(stream, "", "a"), named[0]}, nil, FormTitled},
		{"neither titles nor a config", "a/b", noConfig(), []ocispec.Descriptor{rawLayer(stream, "", "k")}, nil, FormImage},
		{"placeholder", "a/b", noConfig(), []ocispec.Descriptor{noConfig()}, nil, FormImage},
		{"single file", FileArtifactType, noConfig(), named, entry, FormFile},
		{"tombstone", TombstoneType, noConfig(), []ocispec.Descriptor{noConfig()}, entry, FormTombstone},
	} {
		m := &ocispec.Manifest{ArtifactType: test.artifactType, Config: test.config, Layers: test.layers}
		got := FormOf(m, test.entry)
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
		tree := got != FormFile && got != FormTombstone
		if got.BootTree() != tree || got.NamesFiles() != (got != FormImage && got != FormTombstone) {
			t.Errorf("%s: boot tree %v, names files %v", got, got.BootTree(), got.NamesFiles())
		}
	}
}

func TestBootEntry(t *testing.T) {
	for _, test := range []struct{ entry, want string }{
		{`{"platform":{"os":"linux","architecture":"amd64"}}`, "may"},
		{`{"platform":{"os":"linux","architecture":"amd64"},"artifactType":"a/b"}`, "may"},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"org.pulpproject.netboot.version":"1"}}`, "marked"},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"org.pulpproject.netboot.version":"9"}}`, "marked"},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"disktype":"netboot"}}`, "marked"},
		{`{"platform":{"os":"linux","architecture":"amd64"},"artifactType":"` + ArtifactType + `"}`, "marked"},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"disktype":""}}`, "may"},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":null}`, "may"},
		{`{"platform":null}`, ""},
		{`{}`, ""},
		{`{"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"org.pulpproject.netboot.version":"1"}}`, ""},
		{`{"platform":{"os":"linux","architecture":"amd64"},"mediaType":"a/b"}`, ""},
		{`{"platform":{"os":"linux","architecture":"amd64"},"artifactType":"` + FileArtifactType + `"}`, ""},
		{`{"platform":{"os":"linux","architecture":"amd64"},"artifactType":"` + TombstoneType + `"}`, ""},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"disktype":"qcow2","org.pulpproject.netboot.version":"1"}}`, ""},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"disktype":"kernel"}}`, ""},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"disktype":"container"}}`, ""},
		{`{"platform":{"os":"linux","architecture":"amd64"},"annotations":{"disktype":"Netboot"}}`, ""},
	} {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest}
		if err := json.Unmarshal([]byte(test.entry), &d); err != nil {
			t.Fatal(err)
		}
		may, marked := BootEntry(d)
		if may != (test.want != "") || marked != (test.want == "marked") {
			t.Errorf("%s: may %v, marked %v, want %q", test.entry, may, marked, test.want)
		}
	}
}

func TestDiskTypeOf(t *testing.T) {
	m := &ocispec.Manifest{Annotations: map[string]string{AnnotationDiskType: "raw"}}
	entry := &ocispec.Descriptor{Annotations: map[string]string{AnnotationDiskType: "qcow2"}}
	for got, want := range map[string]string{
		DiskTypeOf(nil, nil): "", DiskTypeOf(m, nil): "raw", DiskTypeOf(m, entry): "qcow2", DiskTypeOf(nil, entry): "qcow2",
	} {
		if got != want {
			t.Errorf("disktype %q, want %q", got, want)
		}
	}
	if got := DiskTypeOf(m, &ocispec.Descriptor{}); got != "raw" {
		t.Errorf("an entry that says nothing gives %q", got)
	}
}

// FuzzForm gives any manifest and index entry to what judges them before a layer
// is read: no panic, and whatever is accepted keeps its promises.
func FuzzForm(f *testing.F) {
	f.Add(`{"layers":[{"mediaType":"a/b","digest":"`+oneDigest+`","size":1,"annotations":{"org.opencontainers.image.title":"k"}}]}`, `{"platform":{"os":"linux","architecture":"amd64","os.version":"a-b-1"}}`)
	f.Add(`{"layers":[{"mediaType":"application/x-netboot-file+zstd","digest":"`+oneDigest+`","size":1,"annotations":{"org.opencontainers.image.title":"../k","org.pulpproject.netboot.src.size":"9"}}]}`, `null`)
	f.Add(`{"artifactType":"`+ArtifactType+`","annotations":{"org.pulpproject.netboot.os.arch":"aarch64"}}`, `{"annotations":{"org.pulpproject.netboot.os.arch":"arm64"}}`)
	f.Fuzz(func(t *testing.T, manifest, entry string) {
		var m ocispec.Manifest
		var d *ocispec.Descriptor
		if json.Unmarshal([]byte(manifest), &m) != nil || json.Unmarshal([]byte(entry), &d) != nil {
			return
		}
		form := FormOf(&m, d)
		for _, layer := range m.Layers {
			l, ok, err := ParseArtifactLayer(layer)
			if err != nil || !ok {
				continue
			}
			if CheckPath(l.Path) != nil && (l.Path != "." || !l.Dir) {
				t.Errorf("path %q was accepted", l.Path)
			}
			if l.Bound < 0 || l.Size > l.Bound || l.Size < -1 {
				t.Errorf("size %d, bound %d", l.Size, l.Bound)
			}
		}
		labels, err := ArtifactLabels(&m, d)
		if err == nil {
			for key, value := range m.Annotations {
				if got, ok := labels[key]; ok && got != value {
					t.Errorf("annotation %q is %q, the label %q", key, value, got)
				}
			}
		}
		v := CheckDocuments(&Image{MediaType: ocispec.MediaTypeImageManifest, Manifest: &m, Entry: d})
		if !form.BootTree() && form != FormFile && FirstError(v) == nil {
			t.Errorf("a %s is accepted", form)
		}
	})
}
