package spec

import (
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestCheckHonest has images of other builders that are unusual but right: no
// errors, and exactly these warnings.
func TestCheckHonest(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Image)
		want   string
	}{
		{"root directory", func(i *Image) {
			i.Entries = append([]Entry{i.Entries[0], dirAt(".")}, i.Entries[1:]...)
		}, ""},
		{"no optional labels", func(i *Image) {
			for _, key := range knownLabels()[1:] {
				i.dropLabel(key)
			}
			i.drop("BOOTL", "efi/BOOT", "efi/BOOTA")
		}, ""},
		{"no directories", func(i *Image) { i.drop("efi") }, ""},
		{"a layer for each file", func(i *Image) {
			at := 0
			for n := range i.Entries {
				if i.Entries[n].Type == TypeFile {
					i.Entries[n].Layer = at
					at++
				} else {
					i.Entries[n].Layer = 9
				}
			}
			i.drop("kernel")
		}, ""},
		{"annotations instead of labels", func(i *Image) { i.Config.Config.Labels = nil }, strings.Join([]string{
			"annotations " + LabelVersion, "annotations " + LabelOSName, "annotations " + LabelOSVersion, "annotations " + LabelOSArch,
			"annotations " + LabelEntrypoint, "annotations " + LabelAltEntrypoint, "annotations " + LabelLegacyEntrypoint}, ", ")},
		{"labels without annotations", func(i *Image) { i.Manifest.Annotations = map[string]string{"other": "x"} }, strings.Join([]string{
			"annotations " + LabelVersion, "annotations " + LabelOSName, "annotations " + LabelOSVersion, "annotations " + LabelOSArch,
			"annotations " + LabelEntrypoint, "annotations " + LabelAltEntrypoint, "annotations " + LabelLegacyEntrypoint}, ", ")},
		{"directory again", func(i *Image) { i.insert(dirAt("efi")) }, "order-payload efi, dir-repeated efi"},
		{"hard link, not listed", func(i *Image) { i.insert(hardlinkAt("q", "linux")) }, "hardlink q"},
		{"hard links, listed", func(i *Image) {
			i.insert(hardlinkAt("q", "linux"), hardlinkAt("r", "q"))
			i.Sums = append(i.Sums, Sum{"q", hexOf("linux")}, Sum{"r", hexOf("linux")})
		}, "hardlink q, hardlink r"},
		{"empty file", func(i *Image) { i.insert(fileAt(1, "q", "")); i.list() }, ""},
		{"copies for links, not listed", func(i *Image) {
			*i.entry("efi/BOOT") = fileAt(1, "efi/BOOT", "shim")
			*i.entry("BOOTL") = fileAt(1, "BOOTL", "pxe")
		}, "entry-link-copy efi/BOOT, entry-link-copy BOOTL"},
		{"copy without a label", func(i *Image) {
			i.dropLabel(LabelLegacyEntrypoint)
			*i.entry("BOOTL") = fileAt(1, "BOOTL", "pxe")
		}, "order-links BOOTL, order-payload BOOTL"},
		{"copies for links, listed", func(i *Image) {
			*i.entry("efi/BOOT") = fileAt(1, "efi/BOOT", "shim")
			i.list()
		}, "entry-link-copy efi/BOOT, order-sums SHA256SUM"},
		{"hard link as entrypoint link", func(i *Image) { *i.entry("BOOTL") = hardlinkAt("BOOTL", "pxelinux.0") },
			"entry-link-copy BOOTL, hardlink BOOTL"},
		{"no link", func(i *Image) { i.drop("BOOTL") }, "entry-link-absent BOOTL"},
		{"entrypoint is a link to a file", func(i *Image) {
			i.insert(linkAt("q", "pxelinux.0"))
			i.setLabel(LabelLegacyEntrypoint, "q")
		}, ""},
		{"entrypoint has the name of its link", func(i *Image) {
			i.drop("BOOTL", "pxelinux.0")
			i.insert(fileAt(1, "BOOTL", "pxe"))
			i.setLabel(LabelLegacyEntrypoint, "BOOTL")
			i.list()
		}, "order-sums SHA256SUM, order-payload BOOTL"},
		{"links through links and up", func(i *Image) {
			i.insert(dirAt("q"), linkAt("q/d", "../efi"), linkAt("q/f", "d/./../linux"), linkAt("q/g", "d/BOOT"), linkAt("q/up", ".."))
		}, ""},
		{"docker types", func(i *Image) {
			i.MediaType, i.Manifest.Config.MediaType = mediaTypeDockerManifest, mediaTypeDockerConfig
			i.Manifest.Layers[1].MediaType = mediaTypeDockerLayerGzip
		}, "foreign-types, foreign-types"},
		{"urls, no declared size", func(i *Image) {
			i.Manifest.Layers[1].URLs = []string{"https://files.example/x"}
			i.Manifest.Layers[1].Annotations = nil
		}, "layer-urls, size-undeclared"},
		{"sha512", func(i *Image) {
			i.Manifest.Layers[0].Digest = "sha512:" + "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
		}, ""},
		{"diff IDs not measured", func(i *Image) { i.DiffIDs = nil }, ""},
		{"sums in a later layer", func(i *Image) {
			for n := range i.Entries {
				i.Entries[n].Layer = 1 - i.Entries[n].Layer
			}
			i.Manifest.Layers[1].MediaType = ocispec.MediaTypeImageLayerZstd
		}, "order-sums SHA256SUM, order-sums SHA256SUM"},
		{"everything in one layer", func(i *Image) {
			i.Manifest.Layers, i.DiffIDs = i.Manifest.Layers[:1], nil
			i.Config.RootFS.DiffIDs = i.Config.RootFS.DiffIDs[:1]
			for n := range i.Entries {
				i.Entries[n].Layer = 0
			}
		}, "order-sums SHA256SUM"},
		{"os.arch of another", func(i *Image) { i.setLabel(LabelOSArch, "aarch64") }, "os-arch " + LabelOSArch},
		{"platform with an alias", func(i *Image) { i.Config.Architecture, i.Config.Variant = "armhf", "" }, ""},
		{"second stage elsewhere", func(i *Image) {
			i.setLabel(LabelAltEntrypoint, "linux")
			i.drop("efi/BOOTA")
		}, "entry-link-absent BOOTA, second-stage " + LabelAltEntrypoint},
		{"order of links", func(i *Image) {
			n := len(i.Entries)
			i.Entries[n-1], i.Entries[n-2] = i.Entries[n-2], i.Entries[n-1]
		}, "order-links efi/BOOTA"},
		{"file order across layers", func(i *Image) {
			i.Entries[2], i.Entries[3] = i.Entries[3], i.Entries[2]
			for n := range i.Entries[3:] {
				i.Entries[3+n].Layer = 2
			}
		}, "order-payload efi/grub.efi"},
		{"mode, owner, time", func(i *Image) {
			i.entry("linux").Mode, i.entry("efi").Mode = 0o4755, 0o700
			i.entry("kernel").UID, i.entry("efi").GID = 1000, 5
			i.entry("linux").ModTime, i.entry("BOOTL").ModTime = 5, 6
		}, "mode efi, owner efi, owner kernel, mode linux, times linux"},
	} {
		t.Run(test.name, func(t *testing.T) {
			img := goodImage()
			test.change(img)
			v := Check(img)
			if err := FirstError(v); err != nil {
				t.Errorf("refused: %v", err)
			}
			if got := found(v); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}
