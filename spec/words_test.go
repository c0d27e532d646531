package spec

import (
	"maps"
	"math"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestCheckPathLabel(t *testing.T) {
	for _, v := range []string{"fedora", "42", "12.1", "9-stream", "a_b", "x+y", "0", strings.Repeat("a", 64)} {
		if err := CheckPathLabel(LabelOSName, v); err != nil {
			t.Error(err)
		}
	}
	for _, v := range []string{
		"", ".", "..", ".x", "-x", "_x", "+x", "a/b", "/", `a\b`, "a b", "a\n", "\na", "a\x00", "ä", "{os}", "~", "$HOME", "a:b",
		strings.Repeat("a", 65), "by-digest", "BY-Digest",
	} {
		wantRule(t, CheckPathLabel(LabelOSName, v), RuleLabelValue)
	}
}

func TestMergeLabels(t *testing.T) {
	config := map[string]string{LabelVersion: "1", LabelOSName: "x", "maintainer": "a"}
	annotations := map[string]string{LabelVersion: "1", LabelOSVersion: "2", "maintainer": "b"}
	want := map[string]string{LabelVersion: "1", LabelOSName: "x", LabelOSVersion: "2"}
	if got, err := MergeLabels(config, annotations); err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := MergeLabels(nil, nil); err != nil || got == nil || len(got) != 0 {
		t.Errorf("nothing gives %v, %v", got, err)
	}
	annotations[LabelOSName] = "y"
	_, err := MergeLabels(config, annotations)
	wantRule(t, err, RuleLabelsAgree)
}

func TestLinkFor(t *testing.T) {
	for entrypoint, want := range map[string]string{
		"shim.efi": "BOOT", "efi/boot/shim.efi": "efi/boot/BOOT", "BOOT": "BOOT",
	} {
		if got := LinkFor(entrypoint, EntryLinks()[0].Name); got != want {
			t.Errorf("LinkFor(%q) = %q", entrypoint, got)
		}
	}
}

func TestLayerCodec(t *testing.T) {
	for mt, want := range map[string]Codec{
		ocispec.MediaTypeImageLayer: CodecNone, ocispec.MediaTypeImageLayerGzip: CodecGzip, ocispec.MediaTypeImageLayerZstd: CodecZstd,
		mediaTypeDockerLayer: CodecNone, mediaTypeDockerLayerGzip: CodecGzip, mediaTypeDockerLayerZstd: CodecZstd,
	} {
		if got, err := LayerCodec(mt); err != nil || got != want {
			t.Errorf("LayerCodec(%q) = %q, %v", mt, got, err)
		}
	}
	for _, mt := range []string{
		"", "application/octet-stream", "application/x-netboot-file", ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageLayer + "+xz",
		ocispec.MediaTypeImageLayer + "; x=y", strings.ToUpper(ocispec.MediaTypeImageLayer),
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	} {
		_, err := LayerCodec(mt)
		wantRule(t, err, RuleLayerType)
	}
}

func TestMediaTypes(t *testing.T) {
	for _, test := range []struct {
		mt                      string
		index, manifest, config bool
	}{
		{ocispec.MediaTypeImageIndex, true, false, false},
		{mediaTypeDockerIndex, true, false, false},
		{ocispec.MediaTypeImageManifest, false, true, false},
		{mediaTypeDockerManifest, false, true, false},
		{ocispec.MediaTypeImageConfig, false, false, true},
		{mediaTypeDockerConfig, false, false, true},
		{"application/vnd.docker.distribution.manifest.v1+prettyjws", false, false, false},
		{"", false, false, false},
	} {
		if IsIndex(test.mt) != test.index || IsManifest(test.mt) != test.manifest || IsConfig(test.mt) != test.config {
			t.Errorf("wrong for %q", test.mt)
		}
	}
}

func TestParseDigest(t *testing.T) {
	for _, s := range []string{oneDigest, "sha384:" + strings.Repeat("0a", 48), "sha512:" + strings.Repeat("0a", 64)} {
		if d, err := ParseDigest(s); err != nil || string(d) != s {
			t.Errorf("ParseDigest(%q) = %q, %v", s, d, err)
		}
	}
	for _, s := range []string{
		"", sumA, "sha256:", "sha256:" + sumA[1:], "sha256:" + sumA + "0", "sha256:" + strings.ToUpper(sumA), "SHA256:" + sumA,
		"sha256:../../../../etc/passwd", oneDigest + "\n", " " + oneDigest, "md5:" + sumA[:32], "sha1:" + sumA[:40], "sha512:" + sumA,
		"sha256:" + sumA[:63] + "/", "blake3:" + sumA, "sha512/256:" + sumA,
	} {
		_, err := ParseDigest(s)
		wantRule(t, err, RuleDigestSyntax)
	}
}

func TestCheckDescriptor(t *testing.T) {
	good := ocispec.Descriptor{MediaType: "application/vnd.x+json", Digest: oneDigest, Size: 0}
	for _, mt := range []string{good.MediaType, "text/plain; charset=utf-8", "a/b;c=d"} {
		good.MediaType = mt
		if err := CheckDescriptor(good); err != nil {
			t.Error(err)
		}
	}
	for _, mt := range []string{
		"", "a", "/", "a/", "/b", "a/b/c", "a /b", "a/b\n", "ä/b", strings.Repeat("a", 128) + "/b",
		"a/b;", "a/b; c", "a/b;  c=d", `a/b; c="d"`, "a/b; c=d\n", "a/b" + strings.Repeat(";c=d", 5),
	} {
		bad := good
		bad.MediaType = mt
		wantRule(t, CheckDescriptor(bad), RuleDescriptor)
	}
	bad := good
	bad.Size = math.MinInt64
	wantRule(t, CheckDescriptor(bad), RuleDescriptor)
	bad = good
	bad.Digest = "x"
	wantRule(t, CheckDescriptor(bad), RuleDigestSyntax)
}

func TestLayerBound(t *testing.T) {
	declare := func(s string) map[string]string { return map[string]string{AnnotationUncompressedSize: s} }
	for _, test := range []struct {
		d        ocispec.Descriptor
		bound    int64
		declared bool
	}{
		{ocispec.Descriptor{Size: 10}, 64<<20 + 640, false},
		{ocispec.Descriptor{Size: math.MaxInt64}, math.MaxInt64, false},
		{ocispec.Descriptor{Size: 10, Annotations: declare("0")}, 0, true},
		{ocispec.Descriptor{Size: 10, Annotations: declare("1024")}, 1024, true},
	} {
		if bound, declared, err := LayerBound(test.d); err != nil || bound != test.bound || declared != test.declared {
			t.Errorf("LayerBound(%v) = %d, %t, %v", test.d, bound, declared, err)
		}
	}
	for _, s := range []string{"", "-1", "+1", "01", "1 ", "1e3", "0x10", "9223372036854775808", "-0"} {
		_, _, err := LayerBound(ocispec.Descriptor{Annotations: declare(s)})
		wantRule(t, err, RuleLayerSize)
	}
	_, _, err := LayerBound(ocispec.Descriptor{Size: -1})
	wantRule(t, err, RuleDescriptor)
}

func FuzzCheckPathLabel(f *testing.F) {
	f.Add("fedora")
	f.Add("..")
	f.Fuzz(func(t *testing.T, v string) {
		if CheckPathLabel(LabelOSName, v) == nil && (!safePath(v) || strings.Contains(v, "/")) {
			t.Errorf("accepted %q", v)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	f.Add(oneDigest)
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDigest(s); err == nil && (!safePath(string(d)) || strings.Contains(s, "/")) {
			t.Errorf("accepted %q", s)
		}
	})
}
