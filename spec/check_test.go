package spec

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hexOf stands for the checksum of a file with this content.
func hexOf(content string) string { return digest.FromString(content).Encoded() }

func layerOf(mediaType, name string) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: mediaType, Digest: digest.FromString(name), Size: 100,
		Annotations: map[string]string{AnnotationUncompressedSize: "10240"},
	}
}

func fileAt(layer int, path, content string) Entry {
	return Entry{Layer: layer, Path: path, Type: TypeFile, Size: int64(len(content)), SHA256: hexOf(content), Mode: 0o444}
}

func dirAt(path string) Entry { return Entry{Layer: 1, Path: path, Type: TypeDir, Mode: 0o755} }

func linkAt(path, target string) Entry {
	return Entry{Layer: 1, Path: path, Type: TypeSymlink, Target: target, Mode: 0o777}
}

func hardlinkAt(path, target string) Entry {
	return Entry{Layer: 1, Path: path, Type: TypeHardlink, Target: target, Mode: 0o444}
}

// goodImage is as nbpack writes it: two directories, links, all three labels.
func goodImage() *Image {
	labels := func() map[string]string {
		return map[string]string{
			LabelVersion: "1", LabelOSName: "fedora", LabelOSVersion: "42", LabelOSArch: "armv7",
			LabelEntrypoint: "efi/shim.efi", LabelAltEntrypoint: "efi/grub.efi", LabelLegacyEntrypoint: "pxelinux.0",
		}
	}
	img := &Image{
		MediaType: ocispec.MediaTypeImageManifest,
		Manifest: &ocispec.Manifest{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
			Config:      ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("config"), Size: 3},
			Layers:      []ocispec.Descriptor{layerOf(ocispec.MediaTypeImageLayerGzip, "sums"), layerOf(ocispec.MediaTypeImageLayerZstd, "payload")},
			Annotations: labels(),
		},
		Config: &ocispec.Image{
			Platform: ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"},
			Config:   ocispec.ImageConfig{Labels: labels()},
			RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromString("d0"), digest.FromString("d1")}},
		},
		Entries: []Entry{
			fileAt(0, SumsName, "sums"),
			dirAt("efi"), fileAt(1, "efi/grub.efi", "grub"), fileAt(1, "efi/shim.efi", "shim"),
			linkAt("kernel", "linux"), fileAt(1, "linux", "linux"), fileAt(1, "pxelinux.0", "pxe"),
			linkAt("efi/BOOT", "shim.efi"), linkAt("efi/BOOTA", "grub.efi"), linkAt("BOOTL", "pxelinux.0"),
		},
		HasSums: true,
	}
	img.DiffIDs = img.Config.RootFS.DiffIDs
	img.list()
	return img
}

// list makes the sums fit the files.
func (img *Image) list() {
	img.Sums = nil
	for _, e := range img.Entries {
		if e.Type == TypeFile && e.Path != SumsName {
			img.Sums = append(img.Sums, Sum{e.Path, e.SHA256})
		}
	}
}

// setLabel sets a label in config and annotations.
func (img *Image) setLabel(key, value string) {
	img.Config.Config.Labels[key] = value
	img.Manifest.Annotations[key] = value
}

func (img *Image) dropLabel(key string) {
	delete(img.Config.Config.Labels, key)
	delete(img.Manifest.Annotations, key)
}

func (img *Image) entry(path string) *Entry {
	for i := range img.Entries {
		if img.Entries[i].Path == path {
			return &img.Entries[i]
		}
	}
	return nil
}

// insert puts entries in front of the entrypoint links.
func (img *Image) insert(e ...Entry) {
	n := len(img.Entries) - 3
	img.Entries = append(append(append([]Entry{}, img.Entries[:n]...), e...), img.Entries[n:]...)
}

// drop removes the entries with these paths.
func (img *Image) drop(paths ...string) {
	var kept []Entry
	for _, e := range img.Entries {
		if !strings.Contains("\x00"+strings.Join(paths, "\x00")+"\x00", "\x00"+e.Path+"\x00") {
			kept = append(kept, e)
		}
	}
	img.Entries = kept
}

// found writes violations as "rule path", in order.
func found(v []Violation) string {
	var lines []string
	for _, violation := range v {
		lines = append(lines, strings.TrimSpace(violation.Rule+" "+violation.Path))
	}
	return strings.Join(lines, ", ")
}

func TestCheckGood(t *testing.T) {
	if v := Check(goodImage()); len(v) > 0 {
		t.Errorf("violations in a good image: %v", v)
	}
	if err := FirstError(nil); err != nil {
		t.Errorf("FirstError(nil) = %v", err)
	}
}

// TestCheckViolations changes one thing in a good image, and wants exactly
// these violations and no others.
func TestCheckViolations(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Image)
		want   string
	}{
		{"no manifest", func(i *Image) { i.Manifest = nil }, "document-missing"},
		{"no config", func(i *Image) { i.Config = nil }, "document-missing"},
		{"manifest type", func(i *Image) { i.MediaType = "text/plain" }, "media-type"},
		{"index as manifest", func(i *Image) { i.MediaType = ocispec.MediaTypeImageIndex }, "media-type"},
		{"config type", func(i *Image) { i.Manifest.Config.MediaType = ocispec.MediaTypeEmptyJSON }, "media-type"},
		{"negative size", func(i *Image) { i.Manifest.Layers[0].Size = -1 }, "descriptor"},
		{"bad digest", func(i *Image) { i.Manifest.Config.Digest = "sha256:../../x" }, "digest-syntax"},
		{"no os", func(i *Image) { i.Config.OS = "" }, "platform"},
		{"unknown platform", func(i *Image) { i.Config.Architecture = "unknown" }, "platform"},
		{"no layers", func(i *Image) {
			i.Manifest.Layers, i.Config.RootFS.DiffIDs, i.DiffIDs = nil, nil, nil
		}, "layer-count"},
		{"foreign layer", func(i *Image) {
			i.Manifest.Layers[1].MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
		}, "layer-type"},
		{"layer size", func(i *Image) { i.Manifest.Layers[1].Annotations[AnnotationUncompressedSize] = "-1" },
			"layer-size " + AnnotationUncompressedSize},
		{"diff ID count", func(i *Image) {
			i.Config.RootFS.DiffIDs = i.Config.RootFS.DiffIDs[:1]
		}, "diff-id"},
		{"diff ID measured", func(i *Image) {
			i.DiffIDs = []digest.Digest{digest.FromString("d0"), digest.FromString("other")}
		}, "diff-id"},
		{"diff IDs not all measured", func(i *Image) { i.DiffIDs = i.DiffIDs[:1] }, "diff-id"},

		{"no version", func(i *Image) { i.dropLabel(LabelVersion) }, "version-label " + LabelVersion},
		{"other version", func(i *Image) { i.setLabel(LabelVersion, "2") }, "version-label " + LabelVersion},
		{"labels differ", func(i *Image) { i.Manifest.Annotations[LabelOSName] = "debian" }, "labels-agree " + LabelOSName},
		{"unknown labels differ", func(i *Image) {
			i.Config.Config.Labels[LabelPrefix+"x"], i.Manifest.Annotations[LabelPrefix+"x"] = "1", "2"
		}, "labels-agree " + LabelPrefix + "x"},
		{"label as path", func(i *Image) { i.setLabel(LabelOSName, "../etc") }, "label-value " + LabelOSName},
		{"label reserved", func(i *Image) { i.setLabel(LabelOSVersion, "By-Digest") }, "label-value " + LabelOSVersion},

		{"entry type", func(i *Image) { i.insert(Entry{Layer: 1, Path: "q", Type: "fifo"}) }, "entry-type q"},
		{"root is a file", func(i *Image) { i.insert(fileAt(1, ".", "x")) }, "path ., order-payload ."},
		{"climbing path", func(i *Image) { i.insert(fileAt(1, "../x", "x")) }, "path ../x, order-payload ../x"},
		{"whiteout", func(i *Image) { i.insert(fileAt(1, "z/.wh.linux", "")) }, "whiteout z/.wh.linux"},
		{"reserved", func(i *Image) { i.insert(fileAt(1, "z/.NBextract/x", "")) }, "path-reserved z/.NBextract/x"},
		{"negative file size", func(i *Image) { i.entry("linux").Size = -5 }, "tar-header linux"},
		{"file twice", func(i *Image) { i.insert(fileAt(1, "pxelinux.0", "other")) }, "path-twice pxelinux.0"},
		{"file and directory", func(i *Image) { i.insert(dirAt("pxelinux.0")) }, "path-twice pxelinux.0"},
		{"link twice", func(i *Image) { i.Entries = append(i.Entries, linkAt("BOOTL", "linux")) }, "path-twice BOOTL"},
		{"case twins", func(i *Image) { i.insert(linkAt("pxeLINUX.0", "linux")) }, "path-case pxeLINUX.0, order-payload pxeLINUX.0"},
		{"case twins of Unicode", func(i *Image) { i.insert(linkAt("\u212Aernel", "linux")) }, "path-case \u212Aernel"},
		{"case twins of directories", func(i *Image) {
			i.insert(linkAt("q/x", "../linux"), linkAt("qq/x", "../linux"), linkAt("qq/z", "x"), linkAt("Q/y", "../linux"), linkAt("Q/z", "y"))
		}, "path-case Q, order-payload Q/y"},
		{"parent is a file", func(i *Image) {
			i.insert(linkAt("pxelinux.0/x", "y"), linkAt("pxelinux.0/y", "x/z"), linkAt("pxelinux.0/z/a", "y"))
		}, "path-parent pxelinux.0/x, path-parent pxelinux.0/y, path-parent pxelinux.0/z/a, " +
			"link-dangling pxelinux.0/x, link-dangling pxelinux.0/y, link-dangling pxelinux.0/z/a"},
		{"parent is a link", func(i *Image) {
			i.insert(linkAt("q", "efi"), dirAt("q/x"))
		}, "path-parent q/x"},

		{"absolute link", func(i *Image) { i.entry("kernel").Target = "/linux" }, "link-target kernel"},
		{"escaping link", func(i *Image) { i.entry("kernel").Target = "efi/../../linux" }, "link-target kernel"},
		{"dangling link", func(i *Image) { i.entry("kernel").Target = "vmlinuz" }, "link-dangling kernel"},
		{"link through a file", func(i *Image) { i.entry("kernel").Target = "linux/../linux" }, "link-dangling kernel"},
		{"link behind a file", func(i *Image) { i.entry("kernel").Target = "linux/" }, "link-dangling kernel"},
		{"circle", func(i *Image) { i.insert(linkAt("q", "r"), linkAt("r", "q")) }, "link-dangling q, link-dangling r"},
		{"link that climbs by another", func(i *Image) {
			// By its text q/z leads to q/linux; a kernel goes up from the root.
			i.insert(linkAt("q/up", ".."), linkAt("q/z", "up/../linux"))
		}, "link-target q/z"},
		{"hard link upwards", func(i *Image) { i.insert(hardlinkAt("q", "../etc/shadow")) }, "link-target q, hardlink q"},
		{"hard link to nothing", func(i *Image) { i.insert(hardlinkAt("q", "nothing")) }, "link-dangling q, hardlink q"},
		{"hard link to a link", func(i *Image) { i.insert(hardlinkAt("q", "kernel")) }, "link-dangling q, hardlink q"},
		{"hard link to itself", func(i *Image) { i.insert(hardlinkAt("q", "q")) }, "link-dangling q, hardlink q"},
		{"hard link to a later file", func(i *Image) {
			i.insert(hardlinkAt("q", "r"), fileAt(1, "r", "r"))
			i.list()
		}, "link-dangling q, hardlink q"},

		{"no sums", func(i *Image) { i.HasSums = false }, "sums-missing SHA256SUM"},
		{"sums not in the tree", func(i *Image) { i.drop(SumsName) }, "sums-missing SHA256SUM"},
		{"sums are a link", func(i *Image) { *i.entry(SumsName) = Entry{Path: SumsName, Type: TypeSymlink, Target: "linux"} },
			"sums-missing SHA256SUM"},
		{"file not listed", func(i *Image) { i.insert(fileAt(1, "q", "q")) }, "sums-unlisted q"},
		{"listed, not there", func(i *Image) { i.Sums = append(i.Sums, Sum{"q", hexOf("q")}) }, "sums-extra q"},
		{"link listed", func(i *Image) {
			i.Sums = append(i.Sums[:2:2], append([]Sum{{"kernel", hexOf("linux")}}, i.Sums[2:]...)...)
		}, "sums-extra kernel"},
		{"listed twice", func(i *Image) { i.Sums = append(i.Sums, i.Sums[3]) }, "sums-syntax SHA256SUM"},
		{"wrong sum", func(i *Image) { i.entry("linux").SHA256 = hexOf("other") }, "sums-mismatch linux"},
		{"sum not measured", func(i *Image) { i.entry("linux").SHA256 = "" }, "sums-mismatch linux"},
		{"hard link with another sum", func(i *Image) {
			i.insert(hardlinkAt("q", "linux"))
			i.Sums = append(i.Sums, Sum{"q", hexOf("other")})
		}, "sums-mismatch q, hardlink q"},
		{"empty", func(i *Image) {
			i.Entries, i.Sums = i.Entries[:1], nil
			for _, l := range EntryLinks() {
				i.dropLabel(l.Label)
			}
		}, "payload-empty"},

		{"entrypoint missing", func(i *Image) { i.setLabel(LabelLegacyEntrypoint, "nothing") }, "entrypoint " + LabelLegacyEntrypoint},
		{"entrypoint is a directory", func(i *Image) { i.setLabel(LabelLegacyEntrypoint, "efi") }, "entrypoint " + LabelLegacyEntrypoint},
		{"entrypoint climbs", func(i *Image) { i.setLabel(LabelLegacyEntrypoint, "../x") },
			"label-value " + LabelLegacyEntrypoint + ", order-links BOOTL, order-payload BOOTL"},
		{"entrypoint is empty", func(i *Image) { i.setLabel(LabelLegacyEntrypoint, "") },
			"label-value " + LabelLegacyEntrypoint + ", order-links BOOTL, order-payload BOOTL"},
		{"link to another file", func(i *Image) { i.entry("BOOTL").Target = "linux" }, "entry-link BOOTL"},
		{"directory for a link", func(i *Image) { *i.entry("BOOTL") = dirAt("BOOTL") },
			"entry-link BOOTL"},
		{"case twin of a link", func(i *Image) {
			i.drop("BOOTL")
			i.Entries = append(i.Entries, fileAt(1, "bootl", "x"))
			i.list()
		}, "entry-link BOOTL, order-sums SHA256SUM, order-links bootl, order-payload bootl"},
		{"other file for a link", func(i *Image) { *i.entry("BOOTL") = fileAt(1, "BOOTL", "linux") },
			"entry-link BOOTL"},
		{"copy for a link, of no listed file", func(i *Image) { *i.entry("BOOTL") = fileAt(1, "BOOTL", "shim") },
			"sums-unlisted BOOTL, entry-link BOOTL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			img := goodImage()
			test.change(img)
			v := Check(img)
			got := found(v)
			if again := found(Check(img)); again != got {
				t.Errorf("second run gives %q, first %q", again, got)
			}
			if got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if err := FirstError(v); err == nil {
				t.Error("no error")
			}
		})
	}
}
