package spec

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// exampleBlocks gives the code blocks of the section Examples, in order.
func exampleBlocks(t *testing.T) []string {
	t.Helper()
	_, section, ok := strings.Cut(readDoc(t), "\n## Examples\n")
	section, _, end := strings.Cut(section, "\n## ")
	if !ok || !end {
		t.Fatal("netboot.md has no section Examples")
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```[a-z]+\n(.*?)\n```$").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

func readDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("netboot.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var listingLine = regexp.MustCompile(`^([-dl])[-rwx]{9} 0/0 +(\d+) 2026-04-14 10:00 (\S+?)/?(?: -> (\S+))?$`)

// entriesOf turns the listing of the example into entries of layer 2.
func entriesOf(t *testing.T, listing string, sums []Sum) []Entry {
	t.Helper()
	sumOf := make(map[string]string)
	for _, s := range sums {
		sumOf[s.Path] = s.SHA256
	}
	entries := []Entry{{Path: SumsName, Type: TypeFile, Mode: 0o444}}
	for line := range strings.SplitSeq(listing, "\n") {
		m := listingLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("line %q of the listing", line)
		}
		e := Entry{Layer: 1, Path: m[3], Target: m[4]}
		switch m[1] {
		case "d":
			e.Type, e.Mode = TypeDir, 0o755
		case "l":
			e.Type = TypeSymlink
		default:
			e.Type, e.Mode, e.SHA256 = TypeFile, 0o444, sumOf[e.Path]
		}
		entries = append(entries, e)
	}
	return entries
}

// TestDocumentExamples proves that the examples of netboot.md are right and fit
// together.
func TestDocumentExamples(t *testing.T) {
	blocks := exampleBlocks(t)
	if len(blocks) != 4 {
		t.Fatalf("%d examples, not 4", len(blocks))
	}
	config, err := ParseConfig([]byte(blocks[0]))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest(ocispec.MediaTypeImageManifest, []byte(blocks[1]))
	if err != nil {
		t.Fatal(err)
	}
	if d := digest.FromString(blocks[0]); m.Config.Digest != d || m.Config.Size != int64(len(blocks[0])) {
		t.Errorf("the config has %s and %d bytes, the manifest says %s and %d", d, len(blocks[0]), m.Config.Digest, m.Config.Size)
	}
	sums, err := ParseSums([]byte(blocks[2] + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(FormatSums(sums)); got != blocks[2]+"\n" {
		t.Errorf("SHA256SUM would be written as\n%s", got)
	}
	for _, layer := range m.Layers {
		if p, ok := layer.Annotations[AnnotationFileTablePosition]; ok {
			if _, err := ParseFileTablePosition(p, layer.Size); err != nil {
				t.Error(err)
			}
		}
	}
	v := Check(&Image{
		MediaType: m.MediaType, Manifest: m, Config: config, Sums: sums, HasSums: true,
		Entries: entriesOf(t, blocks[3], sums),
	})
	if len(v) > 0 {
		t.Errorf("the example breaks rules: %v", v)
	}
}

func TestDocumentFileTable(t *testing.T) {
	m := regexp.MustCompile("(?s)```json\n(\\{\"version\":1,\"files\".*?)\n```").FindStringSubmatch(readDoc(t))
	if m == nil {
		t.Fatal("netboot.md has no example of a file table")
	}
	if _, err := ParseFileTable([]byte(m[1]), 2301190); err != nil {
		t.Error(err)
	}
}

// TestDocumentArtifact proves that the example of an artifact breaks no rule.
func TestDocumentArtifact(t *testing.T) {
	_, section, _ := strings.Cut(readDoc(t), "\n## Artifacts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	m := regexp.MustCompile("(?s)```json\n(.*?)\n```").FindStringSubmatch(section)
	if m == nil {
		t.Fatal("netboot.md has no example of an artifact")
	}
	manifest, err := ParseManifest(ocispec.MediaTypeImageManifest, []byte(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	img := &Image{MediaType: manifest.MediaType, Manifest: manifest}
	for i, l := range manifest.Layers {
		img.Entries = append(img.Entries, Entry{
			Layer: i, Path: l.Annotations[ocispec.AnnotationTitle], Type: TypeFile, Size: l.Size, SHA256: l.Digest.Encoded(),
		})
	}
	if v := Check(img); len(v) > 0 || FormOf(manifest, nil) != FormArtifact {
		t.Errorf("the example is a %s and breaks rules: %v", FormOf(manifest, nil), v)
	}
}

// TestDocumentWords proves that the document names every word of the code.
func TestDocumentWords(t *testing.T) {
	doc := readDoc(t)
	words := append(knownLabels(), AnnotationUncompressedSize, AnnotationFileTablePosition, AnnotationFileTableDigest,
		ArtifactType, FileArtifactType, TombstoneType, MediaTypeFile, MediaTypeFileZstd, ocispec.MediaTypeEmptyJSON,
		AnnotationSrcDigest, AnnotationSrcSize, AnnotationDiskType, AnnotationIndexPlatform, AnnotationUnpackDigest,
		string(ocispec.AnnotationTitle), ocispec.AnnotationCreated,
		SumsName, mediaTypeDockerIndex, mediaTypeDockerManifest, mediaTypeDockerConfig,
		mediaTypeDockerLayer, mediaTypeDockerLayerGzip, mediaTypeDockerLayerZstd)
	for _, w := range words {
		if !strings.Contains(doc, "`"+w+"`") {
			t.Errorf("netboot.md does not have %s", w)
		}
	}
	_, table, _ := strings.Cut(doc, "\n## Platforms\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, m := range regexp.MustCompile("(?m)^\\| (`.*?`)(?:;[^|]*)? \\|").FindAllStringSubmatch(table, -1) {
		for alias := range strings.SplitSeq(strings.ReplaceAll(m[1], "`", ""), ", ") {
			if _, _, ok := knownArch(alias); !ok {
				t.Errorf("netboot.md has the alias %q, the code has not", alias)
			}
		}
	}
}

// TestDocumentLinks proves that the links inside the document lead somewhere.
func TestDocumentLinks(t *testing.T) {
	doc := readDoc(t)
	heads := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(doc, -1) {
		heads["#"+strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")] = true
	}
	for _, m := range regexp.MustCompile(`\]\((#[^)]*)\)`).FindAllStringSubmatch(doc, -1) {
		if !heads[m[1]] {
			t.Errorf("link to %s leads nowhere", m[1])
		}
	}
}
