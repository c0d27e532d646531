package pack

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestInspectArtifact shows what a manifest says that names its files itself.
func TestInspectArtifact(t *testing.T) {
	epoch := time.Unix(1700000000, 0).UTC()
	o := artifactOptions(writeTree(t, t.TempDir(), bootTree()...))
	o.ModTime = &epoch
	ref, r := buildInto(t, o)
	info := inspect(t, ref)
	if info.Digest != r.Digest || info.Form != spec.FormArtifact || info.ArtifactType != spec.ArtifactType || info.Platform != "linux/amd64" ||
		info.Created == nil || !info.Created.Equal(epoch) || info.Labels[spec.LabelEntrypoint] != "EFI/BOOT/shimx64.efi" || len(info.Layers) != r.Files {
		t.Errorf("%+v", info)
	}
	want := InfoFile{Path: "EFI/BOOT/shimx64.efi", SHA256: digest.FromString("shim").Encoded()}
	if len(info.Files) != r.Files || info.Files[2] != want {
		t.Errorf("files %v", info.Files)
	}
	ref, _ = buildInto(t, fileOptions(t, "vmlinuz=kernel"))
	if info := inspect(t, ref); info.Form != spec.FormFile || len(info.Files) != 1 || info.Files[0].Path != "vmlinuz" {
		t.Errorf("%+v", info)
	}
}

func inspect(t *testing.T, ref transport.Reference) *Info {
	t.Helper()
	src, err := newClient(t).Source(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	info, err := Inspect(t.Context(), src, ref.String())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// TestLintArtifact damages artifacts in ways that only who reads them sees.
func TestLintArtifact(t *testing.T) {
	packed := func(text string) string {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err := joinErrors(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	src := func(text string) map[string]string {
		return map[string]string{"src.digest": digest.FromString(text).String(), "src.size": strconv.Itoa(len(text))}
	}
	for _, tc := range []struct {
		name   string
		layers []rawLayer
		kind   string   // artifactType
		want   []string // rules
	}{
		{"ours", []rawLayer{{"a", spec.MediaTypeFile, "x", src("x")}}, spec.ArtifactType, nil},
		{"nboci's", []rawLayer{{"a", spec.MediaTypeFileZstd, packed("x"), src("x")}}, "", []string{spec.RuleForeignForm}},
		{"without promises", []rawLayer{{"a", spec.MediaTypeFile, "x", nil}}, spec.ArtifactType, []string{spec.RuleSrcUndeclared}},
		{"wrong promise", []rawLayer{{"a", spec.MediaTypeFileZstd, packed("x"), src("y")}}, spec.ArtifactType, []string{spec.RuleDigest}},
		{"wrong list", []rawLayer{{"SHA256SUM", spec.MediaTypeFile, strings.Repeat("0", 64) + "  a\n", nil}, {"a", spec.MediaTypeFile, "x", nil}}, spec.ArtifactType,
			[]string{"sums-mismatch"}},
		{"no title", []rawLayer{{"", spec.MediaTypeFile, "x", nil}}, spec.ArtifactType, []string{spec.RuleTitle}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ref := writeArtifact(t, tc.kind, tc.layers)
			src, err := newClient(t).Source(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			report, err := Lint(t.Context(), src)
			if err != nil {
				t.Fatal(err)
			}
			rules := map[string]bool{}
			for _, v := range report.Violations {
				rules[v.Rule] = rules[v.Rule] || !placeholder(v)
			}
			for _, want := range tc.want {
				if !rules[want] {
					t.Errorf("no violation of %s in %+v", want, report.Violations)
				}
			}
			maps.DeleteFunc(rules, func(_ string, counts bool) bool { return !counts })
			if len(tc.want) == 0 && len(rules) > 0 {
				t.Errorf("%+v", report.Violations)
			}
		})
	}
}

// rawLayer is one file of an artifact that a test makes.
type rawLayer struct {
	title, mediaType, blob string
	notes                  map[string]string // without the prefix of the format
}

// writeArtifact writes an artifact as a directory of plain files.
func writeArtifact(t *testing.T, artifactType string, layers []rawLayer) transport.Reference {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(mediaType, text string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
		put(d.Digest.Encoded(), text)
		return d
	}
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: blob(ocispec.MediaTypeEmptyJSON, "{}"), Annotations: map[string]string{spec.LabelVersion: spec.Version},
	}
	for _, l := range layers {
		d := blob(l.mediaType, l.blob)
		d.Annotations = map[string]string{}
		if l.title != "" {
			d.Annotations[ocispec.AnnotationTitle] = l.title
		}
		for k, v := range l.notes {
			d.Annotations[spec.LabelPrefix+k] = v
		}
		m.Layers = append(m.Layers, d)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	put("manifest.json", string(raw))
	put("version", "Directory Transport Version: 1.1\n")
	return transport.Reference{Transport: transport.Dir, Name: dir}
}

// TestReproducibleArtifacts are the same in every transport.
func TestReproducibleArtifacts(t *testing.T) {
	dir := writeTree(t, t.TempDir(), bootTree()...)
	var digests []digest.Digest
	for _, dst := range []transport.Reference{
		{Transport: transport.OCI, Name: filepath.Join(t.TempDir(), "l"), Tag: "x"},
		{Transport: transport.OCIArchive, Name: filepath.Join(t.TempDir(), "a"), Tag: "x"},
		{Transport: transport.Dir, Name: filepath.Join(t.TempDir(), "d")},
	} {
		plan, err := Scan(t.Context(), artifactOptions(dir))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Build(t.Context(), newClient(t), plan, dst)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, r[0].Digest)
	}
	if !reflect.DeepEqual(digests, []digest.Digest{digests[0], digests[0], digests[0]}) {
		t.Errorf("digests %v", digests)
	}
}
