package archive

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestLayerTables(t *testing.T) {
	sum := "sha256:" + strings.Repeat("0", 64)
	full := map[string]string{
		AnnotationTOCPosition: "100:200:3000:1", AnnotationTOCDigest: sum, AnnotationTarSplitPosition: "400:50:9000",
		spec.AnnotationFileTablePosition: "310:80:90", spec.AnnotationFileTableDigest: sum,
	}
	desc := func(size int64, edits ...string) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Size: size, Annotations: maps.Clone(full)}
		for i := 0; i < len(edits); i += 2 {
			d.Annotations[edits[i]] = edits[i+1]
			if edits[i+1] == "-" {
				delete(d.Annotations, edits[i])
			}
		}
		return d
	}
	want := Tables{
		TOC:       Table{100, 200, 3000, digest.Digest(sum)},
		FileTable: Table{310, 80, 90, digest.Digest(sum)},
		TarSplit:  Table{400, 50, 9000, ""},
	}
	if got, err := LayerTables(desc(450)); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	other := desc(450)
	other.MediaType = ocispec.MediaTypeImageLayerGzip
	for name, d := range map[string]ocispec.Descriptor{"gzip": other, "none": {MediaType: ocispec.MediaTypeImageLayerZstd, Size: 9}} {
		if got, err := LayerTables(d); err != nil || got != (Tables{}) || got.TOC.Present() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := LayerTables(desc(450, AnnotationTarSplitPosition, "-", spec.AnnotationFileTablePosition, "-", spec.AnnotationFileTableDigest, "-")); err != nil || !got.TOC.Present() || got.TarSplit.Present() || got.FileTable.Present() {
		t.Errorf("%+v, %v", got, err)
	}
	for _, d := range []ocispec.Descriptor{
		desc(449), desc(299), desc(0), desc(-1), desc(math.MinInt64),
		desc(450, AnnotationTOCDigest, "-"), desc(450, AnnotationTOCPosition, "-"), desc(450, AnnotationTOCDigest, ""), desc(450, AnnotationTOCDigest, "sha256:0"),
		desc(450, spec.AnnotationFileTableDigest, "-"), desc(450, spec.AnnotationFileTablePosition, "-"), desc(450, spec.AnnotationFileTableDigest, "md5:0"),
		desc(450, AnnotationTOCPosition, "100:200:3000"), desc(450, AnnotationTOCPosition, "100:200:3000:2"), desc(450, AnnotationTOCPosition, "100:200:3000:1:1"),
		desc(450, AnnotationTOCPosition, ""), desc(450, AnnotationTOCPosition, "1"), desc(450, AnnotationTOCPosition, ":::1"), desc(450, AnnotationTOCPosition, "0:200:3000:1"),
		desc(450, AnnotationTOCPosition, "-100:200:3000:1"), desc(450, AnnotationTOCPosition, "100:-200:3000:1"), desc(450, AnnotationTOCPosition, "100:0:3000:1"),
		desc(450, AnnotationTOCPosition, "100:200:0:1"), desc(450, AnnotationTOCPosition, "100:200:0100:1"), desc(450, AnnotationTOCPosition, "+100:200:3000:1"),
		desc(450, AnnotationTOCPosition, "9223372036854775807:200:3000:1"), desc(450, AnnotationTOCPosition, "9223372036854775808:200:3000:1"),
		desc(450, AnnotationTOCPosition, "100:200:9223372036854775807:1"), desc(1<<40, AnnotationTOCPosition, "100:16777217:3000:1"),
		desc(450, AnnotationTarSplitPosition, "400:50:9000:1"), desc(450, AnnotationTarSplitPosition, "400:50:100663297"),
	} {
		got, err := LayerTables(d)
		if err == nil || got != (Tables{}) {
			t.Errorf("%d, %v: accepted as %+v", d.Size, d.Annotations, got)
			continue
		}
		expectRefusal(t, err, "")
	}
	other.MediaType = "text/plain"
	_, err := LayerTables(other)
	expectRefusal(t, err, spec.RuleLayerType)
}

func TestTableRead(t *testing.T) {
	data := []byte("the table and more")
	table := Table{Length: 9, Digest: "sha256:f49c1eb0e1b5cd4a61ee1d7e7a8d6a5a0f5ba8c6b5eb5c0e5b5ef3e3a5a3a0a6"}
	_, err := table.Read(bytes.NewReader(data))
	expectRefusal(t, err, spec.RuleDigest)
	table.Digest = ""
	b, err := table.Read(iotest.OneByteReader(bytes.NewReader(data)))
	if err != nil || string(b) != "the table" {
		t.Errorf("%q, %v", b, err)
	}
	table.Digest = digest.FromBytes(b)
	if _, err := table.Read(bytes.NewReader(data)); err != nil {
		t.Error(err)
	}
	for _, short := range []string{"", "the tabl"} {
		_, err := table.Read(strings.NewReader(short))
		expectRefusal(t, err, spec.RuleChunkTable)
	}
	broken := errors.New("broken")
	if _, err := table.Read(io.MultiReader(strings.NewReader("the"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("error of the source: %v", err)
	}
}

func TestTap(t *testing.T) {
	blob, desc, diffID := compress(t, ZstdChunked, payloadBytes(t, time.Time{}), 1<<20)
	tables, err := LayerTables(desc)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tables.TOC.Read(bytes.NewReader(blob[tables.TOC.Offset:]))
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{1, 7, 4096, len(blob)} {
		tap := NewTap(&stepReader{blob, step}, tables.TOC)
		if _, _, sum, err := readLayer(tap, desc); err != nil || sum != diffID {
			t.Fatalf("%s, %v", sum, err)
		}
		if !bytes.Equal(tap.Frame(), want) {
			t.Errorf("step %d: frame is %d bytes", step, len(tap.Frame()))
		}
	}
	early := NewTap(bytes.NewReader(blob[:tables.TOC.Offset+5]), tables.TOC)
	if _, err := io.Copy(io.Discard, early); err != nil || early.Frame() != nil {
		t.Error("a stream that ended early has a frame")
	}
	other := tables.TOC
	other.Offset++
	wrong := NewTap(bytes.NewReader(blob), other)
	if _, err := io.Copy(io.Discard, wrong); err != nil || wrong.Frame() != nil {
		t.Error("a frame with another digest is given")
	}
	none := NewTap(bytes.NewReader(blob), Table{})
	if _, err := io.Copy(io.Discard, none); err != nil || none.Frame() != nil {
		t.Error("no table has a frame")
	}
}

// FuzzLayerTables: whatever the annotations say, the tables lie in the blob and keep
// their bounds.
func FuzzLayerTables(f *testing.F) {
	sum := "sha256:" + strings.Repeat("0", 64)
	f.Add("100:200:3000:1", sum, "400:50:9000", "310:80:90", int64(450))
	f.Add("9223372036854775807:1:1:1", sum, "1:9223372036854775807:1", "1:1:9223372036854775807", int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, toc, sum, split, files string, size int64) {
		got, err := LayerTables(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Size: size, Annotations: map[string]string{
			AnnotationTOCPosition: toc, AnnotationTOCDigest: sum, AnnotationTarSplitPosition: split,
			spec.AnnotationFileTablePosition: files, spec.AnnotationFileTableDigest: sum,
		}})
		if err != nil {
			return
		}
		for _, table := range []Table{got.TOC, got.TarSplit, got.FileTable} {
			if table.Offset < 0 || table.Length < 0 || table.Plain < 0 || table.Length > spec.MaxTableSize || table.Plain > spec.MaxTOCSize || table.Offset+table.Length > size || table.Offset+table.Length < 0 {
				t.Errorf("accepted %+v in %d bytes", table, size)
			}
		}
	})
}
