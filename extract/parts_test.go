package extract

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// drawnFrom is the blueprint of a plain tar.
func drawnFrom(t testing.TB, files map[string]string) *blueprint {
	t.Helper()
	tarred, _ := testshelf.Tarball(files)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(tarred), Size: int64(len(tarred))}
	split, ranges, err := archive.ScanTar(t.Context(), bytes.NewReader(tarred), desc, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &blueprint{layer: &tarLayer{desc: desc}, split: split, plain: true, where: map[string]transport.Range{}}
	for _, f := range ranges {
		b.where[f.Path] = transport.Range{Offset: f.Offset, Length: f.End - f.Offset}
	}
	return b
}

// TestPartsOfOtherLayers: a file that waits for the proof of another layer stands in
// for none of this one, since it could not be linked when this one is proved.
func TestPartsOfOtherLayers(t *testing.T) {
	sum := sha256Hex([]byte("kernel"))
	in := newTestIntake(map[string]string{"a": sum, "b": sum, "c": sum})
	b := drawnFrom(t, map[string]string{"a": "kernel", "b": "kernel"})
	a := spec.Entry{Path: "a", Type: spec.TypeFile, Size: 6}
	in.loose["c"] = true
	if at, ok := in.at(b, a); ok {
		t.Errorf("%q is read from %q", a.Path, at)
	}
	if parts, err := in.missingParts(b); err != nil || len(parts) != 1 {
		t.Errorf("%d parts, %v", len(parts), err)
	}
	in.loose["b"] = true
	if at, _ := in.at(b, a); at != "b" {
		t.Errorf("%q is read from %q", a.Path, at)
	}
	in.hold(spec.Entry{Path: "c", Type: spec.TypeFile, SHA256: sum})
	delete(in.loose, "b")
	if at, _ := in.at(b, a); at != "c" {
		t.Errorf("%q is read from %q", a.Path, at)
	}
}

// BenchmarkMissingParts: what is missing of many files is found in one go, be the
// others waiting for their proof, or all equal.
func BenchmarkMissingParts(b *testing.B) {
	const n = 20_000
	for _, equal := range []bool{false, true} {
		b.Run(fmt.Sprintf("equal=%v", equal), func(b *testing.B) {
			files, sums := map[string]string{}, map[string]string{}
			for i := range n {
				content := fmt.Sprint(i)
				if equal {
					content = "equal"
				}
				p := fmt.Sprintf("f%05d", i)
				files[p], sums[p] = content, sha256Hex([]byte(content))
			}
			in, print := newTestIntake(sums), drawnFrom(b, files)
			for i := range n / 2 {
				if !equal {
					in.loose[fmt.Sprintf("f%05d", i)] = true
				}
			}
			for b.Loop() {
				if parts, err := in.missingParts(print); err != nil || !equal && len(parts) != n/2 {
					b.Fatal(len(parts), err)
				}
			}
		})
	}
}
