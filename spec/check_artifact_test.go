package spec

import (
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// goodArtifact is as nbpack writes it.
func goodArtifact() *Image {
	img := &Image{
		MediaType: ocispec.MediaTypeImageManifest,
		Manifest: &ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			ArtifactType: ArtifactType, Config: noConfig(),
			Annotations: map[string]string{
				LabelVersion: "1", LabelOSName: "fedora", LabelOSVersion: "42", LabelOSArch: "amd64",
				LabelEntrypoint: "efi/shim.efi", LabelAltEntrypoint: "efi/grub.efi", AnnotationDiskType: DiskTypeNetboot,
			},
		},
	}
	for _, name := range []string{"efi/grub.efi", "efi/shim.efi", "vmlinuz"} {
		img.addFile(name, name)
	}
	return img
}

// addFile adds a layer as nbpack writes it, and what is read from it.
func (img *Image) addFile(title, content string) *ocispec.Descriptor {
	d := rawLayer(MediaTypeFile, title, content)
	d.Annotations[AnnotationSrcDigest] = d.Digest.String()
	d.Annotations[AnnotationSrcSize] = strconv.Itoa(len(content))
	img.Manifest.Layers = append(img.Manifest.Layers, d)
	e := fileAt(len(img.Manifest.Layers)-1, title, content)
	e.Mode = 0
	img.Entries = append(img.Entries, e)
	return &img.Manifest.Layers[len(img.Manifest.Layers)-1]
}

func (img *Image) layer(title string) *ocispec.Descriptor {
	for i := range img.Manifest.Layers {
		if d := &img.Manifest.Layers[i]; d.Annotations[ocispec.AnnotationTitle] == title {
			return d
		}
	}
	panic("no layer " + title)
}

// addDir makes a layer that is a directory with one file.
func (img *Image) addDir(title, file string) {
	d := rawLayer(ocispec.MediaTypeImageLayerGzip, title, "tar of "+title)
	d.Annotations[AnnotationUnpack] = "true"
	img.Manifest.Layers = append(img.Manifest.Layers, d)
	img.Entries = append(img.Entries, fileAt(len(img.Manifest.Layers)-1, file, file))
}

func TestCheckArtifact(t *testing.T) {
	annotations := func(img *Image) map[string]string { return img.Manifest.Annotations }
	for _, test := range []struct {
		name   string
		change func(*Image)
		early  string // what shows before layers are read
		want   string // and afterwards; "=" for the same
	}{
		{"good", func(*Image) {}, "", ""},
		{"empty file", func(i *Image) { i.addFile("x", "") }, "", ""},
		{"files of equal content", func(i *Image) { i.addFile("x", "vmlinuz") }, "", ""},
		{"sha512", func(i *Image) {
			d := i.layer("vmlinuz")
			d.Digest = digest.SHA512.FromString("vmlinuz")
		}, "", ""},
		{"no labels", func(i *Image) { i.Manifest.Annotations = nil }, "", "annotations " + LabelVersion},
		{"copy of an entrypoint as its link", func(i *Image) { i.addFile("efi/BOOT", "efi/shim.efi") },
			"entry-link-copy efi/BOOT", "entry-link-copy efi/BOOT, order-payload efi/BOOT"},
		{"list", func(i *Image) { i.addList("") }, "", "order-payload SHA256SUM"},
		{"nboci", func(i *Image) {
			i.Manifest.ArtifactType = "application/vnd.unknown.artifact.v1"
			delete(annotations(i), LabelVersion)
			d := i.layer("vmlinuz")
			d.MediaType, d.Digest, d.Size = MediaTypeFileZstd, digest.FromString("zstd"), 4
		}, "", "foreign-form, annotations " + LabelVersion},
		{"podman", func(i *Image) {
			i.Manifest.ArtifactType, i.Manifest.Annotations = "a/b", nil
			i.Entry = &ocispec.Descriptor{Platform: &ocispec.Platform{OS: "linux", Architecture: "amd64", OSVersion: "fedora-42"}, Annotations: map[string]string{LabelVersion: "1"}}
		}, "", "foreign-form, annotations " + LabelVersion + ", annotations " + LabelOSName + ", annotations " + LabelOSVersion + ", annotations " + LabelOSArch},
		{"ORAS with a directory", func(i *Image) {
			i.Manifest.ArtifactType = "a/b"
			i.addDir("x", "x/y")
		}, "", "foreign-form"},
		{"directory at the top", func(i *Image) { i.addDir(".", "zz/y") }, "", "order-payload ."},
		{"urls, no source", func(i *Image) {
			i.layer("vmlinuz").URLs = []string{"https://files.example/x"}
			delete(i.layer("vmlinuz").Annotations, AnnotationSrcSize)
		}, "", "layer-urls vmlinuz, src-undeclared vmlinuz"},
		{"order", func(i *Image) { i.addFile("a", "a") }, "", "order-payload a"},
		{"os.arch by another name", func(i *Image) { annotations(i)[LabelOSArch] = "x86_64" }, "", "os-arch " + LabelOSArch},
		{"stages", func(i *Image) { annotations(i)[LabelAltEntrypoint] = "vmlinuz" }, "", "second-stage " + LabelAltEntrypoint},
		{"docker", func(i *Image) { i.MediaType = mediaTypeDockerManifest }, "", "foreign-types"},
		{"config of /dev/null", func(i *Image) { i.Manifest.Config.Size, i.Manifest.Config.Digest = 0, digest.FromString("") }, "", ""},
		{"config of any type", func(i *Image) { i.Manifest.Config.MediaType = "application/vnd.unknown.config.v1+json" }, "", ""},
		{"single file", func(i *Image) {
			i.Manifest.ArtifactType, i.Manifest.Annotations = FileArtifactType, nil
			i.Manifest.Layers, i.Entries = i.Manifest.Layers[:1], i.Entries[:1]
		}, "", ""},

		{"two single files", func(i *Image) { i.Manifest.ArtifactType = FileArtifactType }, "layer-count", "="},
		{"tombstone", func(i *Image) { i.Manifest.ArtifactType = TombstoneType }, "boot-tree", "="},
		{"no layers", func(i *Image) { i.Manifest.Layers, i.Entries, i.Manifest.Annotations = nil, nil, nil },
			"layer-count, payload-empty", "layer-count, payload-empty, annotations " + LabelVersion},
		{"placeholder alone", func(i *Image) {
			i.Manifest.Layers, i.Entries = []ocispec.Descriptor{noConfig()}, nil
			delete(annotations(i), LabelEntrypoint)
			delete(annotations(i), LabelAltEntrypoint)
		}, "payload-empty", "="},
		{"no title", func(i *Image) { delete(i.layer("vmlinuz").Annotations, ocispec.AnnotationTitle) }, "title", "title, title vmlinuz"},
		{"two of one title", func(i *Image) { i.addFile("vmlinuz", "other") }, "path-twice vmlinuz", "="},
		{"case twins", func(i *Image) { i.addFile("vmlinuZ", "other") }, "path-case vmlinuZ", "path-case vmlinuZ, order-payload vmlinuZ"},
		{"below a file", func(i *Image) { i.addFile("vmlinuz/x", "x") }, "path-parent vmlinuz/x", "="},
		{"a file where a directory is", func(i *Image) { i.addFile("zz", "x"); i.addDir("zz", "zz/y") }, "path-twice zz", "path-parent zz/y"},
		{"beside its directory", func(i *Image) { i.addDir("zz", "zz2/y") }, "", "path zz2/y"},
		{"over a file", func(i *Image) { i.addDir("zz", "zz/y"); i.addFile("zz/y", "other") }, "", "path-twice zz/y"},
		{"list of another content", func(i *Image) { i.addList("vmlinuz") }, "", "sums-mismatch vmlinuz, order-payload SHA256SUM"},
		{"list lacks a file", func(i *Image) { i.addList(""); i.Sums = i.Sums[1:] }, "", "sums-unlisted efi/grub.efi, order-payload SHA256SUM"},
		{"no such entrypoint", func(i *Image) { annotations(i)[LabelLegacyEntrypoint] = "pxelinux.0" }, "entrypoint " + LabelLegacyEntrypoint, "="},
		{"link of other content", func(i *Image) { i.addFile("efi/BOOT", "x") }, "entry-link efi/BOOT", "entry-link efi/BOOT, order-payload efi/BOOT"},
		{"version 2", func(i *Image) { annotations(i)[LabelVersion] = "2" }, "version-label " + LabelVersion, "="},
		{"bad label", func(i *Image) { annotations(i)[LabelOSName] = "../x" }, "label-value " + LabelOSName, "="},
		{"entry disagrees", func(i *Image) {
			i.Entry = &ocispec.Descriptor{Annotations: map[string]string{LabelOSName: "debian"}}
		}, "labels-agree " + LabelOSName, "="},
		{"config of an image", func(i *Image) { i.Manifest.Config.MediaType = ocispec.MediaTypeImageConfig }, "artifact-config", "="},
		{"config not empty", func(i *Image) { i.Manifest.Config.Digest = digest.FromString("[]") }, "artifact-config", "="},
		{"other source", func(i *Image) { i.layer("vmlinuz").Annotations[AnnotationSrcSize] = "1" }, "layer-size vmlinuz", "layer-size vmlinuz, title vmlinuz"},
		{"other content", func(i *Image) { i.Entries[2].SHA256 = hexOf("x") }, "", "digest-mismatch vmlinuz"},
		{"other length", func(i *Image) { i.Entries[2].Size++ }, "", "layer-size vmlinuz"},
		{"other path", func(i *Image) { i.Entries[2].Path = "linux" }, "", "title linux"},
		{"layer not read", func(i *Image) { i.Entries = i.Entries[:2] }, "", "title vmlinuz"},
		{"layer with two files", func(i *Image) { i.Entries = append(i.Entries, fileAt(2, "zz", "x")) }, "", "title zz, title vmlinuz"},
	} {
		t.Run(test.name, func(t *testing.T) {
			img := goodArtifact()
			test.change(img)
			if got := found(CheckDocuments(img)); got != test.early {
				t.Errorf("early %q\nwant  %q", got, test.early)
			}
			want := test.want
			if want == "=" {
				want = test.early
			}
			if got := found(Check(img)); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// addList adds SHA256SUM, with another checksum for the file wrong.
func (img *Image) addList(wrong string) {
	img.list()
	for i := range img.Sums {
		if img.Sums[i].Path == wrong {
			img.Sums[i].SHA256 = hexOf("wrong")
		}
	}
	img.addFile(SumsName, string(FormatSums(img.Sums)))
	img.HasSums = true
}

func TestCheckArtifactSays(t *testing.T) {
	img := goodArtifact()
	img.Manifest.Layers[0].Annotations = nil
	img.Manifest.Layers[0].MediaType = "a/b"
	err := FirstError(CheckDocuments(img))
	wantRule(t, err, RuleTitle)
	if !strings.Contains(err.Error(), `"a/b"`) {
		t.Errorf("the type of the layer is not named: %v", err)
	}
}
