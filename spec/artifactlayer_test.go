package spec

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParseArtifactLayer(t *testing.T) {
	sha256, sha512 := digest.FromString("kernel"), digest.SHA512.FromString("kernel")
	with := func(d ocispec.Descriptor, annotations ...string) ocispec.Descriptor {
		all := map[string]string{}
		for k, v := range d.Annotations {
			all[k] = v
		}
		for i := 0; i < len(annotations); i += 2 {
			all[annotations[i]] = annotations[i+1]
		}
		d.Annotations = all
		return d
	}
	raw := rawLayer("application/octet-stream", "boot/vmlinuz", "kernel")
	long := raw
	long.Digest = sha512
	packed := rawLayer(MediaTypeFileZstd, "vmlinuz", "zzz")
	dir := with(rawLayer(ocispec.MediaTypeImageLayerGzip, "boot", "tar"), AnnotationUnpack, "true")
	undeclared := int64(UndeclaredFloor + 3*UndeclaredRatio)
	for _, test := range []struct {
		name string
		desc ocispec.Descriptor
		want ArtifactLayer // Path empty: nothing to lay out
		rule string
	}{
		{"raw", raw, ArtifactLayer{"boot/vmlinuz", false, CodecNone, sha256, 6, 6}, ""},
		{"raw with its source", with(raw, AnnotationSrcDigest, string(sha256), AnnotationSrcSize, "6"), ArtifactLayer{"boot/vmlinuz", false, CodecNone, sha256, 6, 6}, ""},
		{"raw by sha512", long, ArtifactLayer{"boot/vmlinuz", false, CodecNone, sha512, 6, 6}, ""},
		{"raw by sha512, source by sha256", with(long, AnnotationSrcDigest, string(sha256)), ArtifactLayer{"boot/vmlinuz", false, CodecNone, sha256, 6, 6}, ""},
		{"raw, source by sha512", with(raw, AnnotationSrcDigest, string(sha512)), ArtifactLayer{"boot/vmlinuz", false, CodecNone, sha256, 6, 6}, ""},
		{"a tar of ORAS that is a file", rawLayer(ocispec.MediaTypeImageLayer, "a.tar", "kernel"), ArtifactLayer{"a.tar", false, CodecNone, sha256, 6, 6}, ""},
		{"the name does not make a codec", rawLayer("application/zstd", "a.zst", "kernel"), ArtifactLayer{"a.zst", false, CodecNone, sha256, 6, 6}, ""},
		{"empty file", rawLayer("a/b", "empty", ""), ArtifactLayer{"empty", false, CodecNone, digest.FromString(""), 0, 0}, ""},
		{"nboci", with(packed, AnnotationSrcDigest, string(sha256), AnnotationSrcSize, "6"), ArtifactLayer{"vmlinuz", false, CodecZstd, sha256, 6, 6}, ""},
		{"nboci without a source", packed, ArtifactLayer{"vmlinuz", false, CodecZstd, "", -1, undeclared}, ""},
		{"nboci, the size of a tar", with(packed, AnnotationUncompressedSize, "9"), ArtifactLayer{"vmlinuz", false, CodecZstd, "", -1, undeclared}, ""},
		{"nboci by sha512", with(packed, AnnotationSrcDigest, string(sha512)), ArtifactLayer{"vmlinuz", false, CodecZstd, sha512, -1, undeclared}, ""},
		{"directory", dir, ArtifactLayer{"boot", true, CodecGzip, "", -1, undeclared}, ""},
		{"directory with its diff ID", with(dir, AnnotationUnpackDigest, string(sha256), AnnotationUncompressedSize, "1024"), ArtifactLayer{"boot", true, CodecGzip, sha256, -1, 1024}, ""},
		{"directory at the top", with(dir, ocispec.AnnotationTitle, "."), ArtifactLayer{".", true, CodecGzip, "", -1, undeclared}, ""},
		{"not to be unpacked", with(dir, AnnotationUnpack, "false"), ArtifactLayer{"boot", false, CodecNone, digest.FromString("tar"), 3, 3}, ""},
		{"placeholder", noConfig(), ArtifactLayer{}, ""},
		{"placeholder with a title", with(noConfig(), ocispec.AnnotationTitle, "e"), ArtifactLayer{"e", false, CodecNone, digest.FromString("{}"), 2, 2}, ""},

		{"no title", rawLayer("a/b", "", "kernel"), ArtifactLayer{}, RuleTitle},
		{"empty type, other content", rawLayer(ocispec.MediaTypeEmptyJSON, "", "[]"), ArtifactLayer{}, RuleTitle},
		{"title above", rawLayer("a/b", "../k", "k"), ArtifactLayer{}, RulePath},
		{"title absolute", rawLayer("a/b", "/k", "k"), ArtifactLayer{}, RulePath},
		{"title not clean", rawLayer("a/b", "a//k", "k"), ArtifactLayer{}, RulePath},
		{"title of the root", rawLayer("a/b", ".", "k"), ArtifactLayer{}, RulePath},
		{"title reserved", rawLayer("a/b", "By-Digest/k", "k"), ArtifactLayer{}, RulePathReserved},
		{"title of the state", rawLayer("a/b", "a/.NBextract", "k"), ArtifactLayer{}, RulePathReserved},
		{"title of a whiteout", rawLayer("a/b", ".wh.k", "k"), ArtifactLayer{}, RuleWhiteout},
		{"title with control bytes", rawLayer("a/b", "k\x1b[2J", "k"), ArtifactLayer{}, RulePath},
		{"other source digest", with(raw, AnnotationSrcDigest, string(digest.FromString("x"))), ArtifactLayer{}, RuleDigest},
		{"bad source digest", with(raw, AnnotationSrcDigest, "sha256:"), ArtifactLayer{}, RuleDigestSyntax},
		{"source digest by md5", with(packed, AnnotationSrcDigest, "md5:d41d8cd98f00b204e9800998ecf8427e"), ArtifactLayer{}, RuleDigestSyntax},
		{"other source size", with(raw, AnnotationSrcSize, "7"), ArtifactLayer{}, RuleLayerSize},
		{"negative source size", with(packed, AnnotationSrcSize, "-1"), ArtifactLayer{}, RuleLayerSize},
		{"source size with zeros", with(packed, AnnotationSrcSize, "06"), ArtifactLayer{}, RuleLayerSize},
		{"source size too large", with(packed, AnnotationSrcSize, "9223372036854775808"), ArtifactLayer{}, RuleLayerSize},
		{"directory of another type", with(raw, AnnotationUnpack, "true"), ArtifactLayer{}, RuleLayerType},
		{"directory with a sha512 diff ID", with(dir, AnnotationUnpackDigest, string(sha512)), ArtifactLayer{}, RuleDigestSyntax},
		{"directory with a bad size", with(dir, AnnotationUncompressedSize, "x"), ArtifactLayer{}, RuleLayerSize},
		{"bad descriptor", ocispec.Descriptor{MediaType: "a/b", Digest: sha256, Size: -1}, ArtifactLayer{}, RuleDescriptor},
	} {
		got, ok, err := ParseArtifactLayer(test.desc)
		if test.rule != "" {
			wantRule(t, err, test.rule)
			continue
		}
		if err != nil || ok != (test.want.Path != "") || ok && got != test.want {
			t.Errorf("%s: %+v, %v, %v, want %+v", test.name, got, ok, err, test.want)
		}
	}
}

func TestArtifactLayerSHA256(t *testing.T) {
	d := digest.FromString("x")
	for _, l := range []ArtifactLayer{{}, {Digest: digest.SHA512.FromString("x")}, {Digest: d, Dir: true}} {
		if got := l.SHA256(); got != "" {
			t.Errorf("%+v promises %q", l, got)
		}
	}
	if got := (ArtifactLayer{Digest: d}).SHA256(); got != d.Encoded() {
		t.Errorf("got %q", got)
	}
}

func TestArtifactLayerHolds(t *testing.T) {
	file, dir, top := ArtifactLayer{Path: "a/b"}, ArtifactLayer{Path: "a/b", Dir: true}, ArtifactLayer{Path: ".", Dir: true}
	for path, want := range map[string]string{"a/b": "yyy", "a/b/c": "nyy", "a/bc": "nny", "a": "nny", "c": "nny"} {
		got := ""
		for _, l := range []ArtifactLayer{file, dir, top} {
			got += strings.Split("n y", " ")[map[bool]int{true: 1}[l.Holds(path)]]
		}
		if got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}
