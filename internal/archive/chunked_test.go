package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vbatts/tar-split/tar/asm"
	"github.com/vbatts/tar-split/tar/storage"
	"go.podman.io/storage/pkg/chunked/toc"
)

// table is the library's table of contents, as any reader would declare it.
type table struct {
	Version        int           `json:"version"`
	Entries        []tocEntry    `json:"entries"`
	TarSplitDigest digest.Digest `json:"tarSplitDigest"`
}

// frameAt returns the content of the skippable frame that a position annotation
// names, as stored and decompressed.
func frameAt(t *testing.T, blob []byte, position string) (stored, plain []byte) {
	t.Helper()
	var n []int64
	for _, f := range strings.Split(position, ":") {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		n = append(n, v)
	}
	head := blob[n[0]-8 : n[0]]
	if binary.LittleEndian.Uint32(head) != skippableMagic || int64(binary.LittleEndian.Uint32(head[4:])) != n[1] {
		t.Fatalf("no skippable frame at %s", position)
	}
	stored = blob[n[0] : n[0]+n[1]]
	plain = decodeAll(t, stored)
	if int64(len(plain)) != n[2] {
		t.Fatalf("frame at %s has %d bytes", position, len(plain))
	}
	return stored, plain
}

func decodeAll(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := z.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func readTable(t *testing.T, blob []byte, desc ocispec.Descriptor) table {
	t.Helper()
	stored, plain := frameAt(t, blob, desc.Annotations[AnnotationTOCPosition])
	want, err := toc.GetTOCDigest(desc.Annotations)
	if err != nil || want == nil || digest.FromBytes(stored) != *want {
		t.Fatalf("digest of the table of contents: %v, %v", want, err)
	}
	var c table
	if err := json.Unmarshal(plain, &c); err != nil || c.Version != 1 {
		t.Fatalf("version %d, %v", c.Version, err)
	}
	return c
}

// TestChunkedTables reads a blob the way a partial reader does: annotations,
// tables, single files by range, chunks by range, the tar from tar-split.
func TestChunkedTables(t *testing.T) {
	data := payloadBytes(t, time.Unix(1700000000, 0))
	blob, desc, diffID := compress(t, ZstdChunked, data, 1<<20, WithPayloadSize(int64(len(data))))
	for _, key := range []string{AnnotationTOCDigest, AnnotationTOCPosition, AnnotationTarSplitPosition} {
		if _, ok := toc.ChunkedAnnotations[key]; !ok {
			t.Errorf("the library does not know annotation %q", key)
		}
	}
	c := readTable(t, blob, desc)
	files := map[string][]byte{}
	var entries int
	for i, e := range c.Entries {
		if e.Type == tocChunk {
			continue
		}
		entries++
		if e.Type != tocFile {
			continue
		}
		content := decodeAll(t, blob[e.Offset:e.EndOffset])
		if int64(len(content)) != e.Size || e.Size > 0 && digest.FromBytes(content) != e.Digest {
			t.Errorf("%q by range has other content", e.Name)
		}
		checkChunks(t, blob, content, c.Entries[i:])
		files[e.Name] = content
	}
	if entries != 9 || len(files) != 6 {
		t.Errorf("table has %d entries and %d files", entries, len(files))
	}
	checkFileTable(t, blob, desc, files)

	stored, plain := frameAt(t, blob, desc.Annotations[AnnotationTarSplitPosition])
	if digest.FromBytes(stored) != c.TarSplitDigest {
		t.Error("digest of tar-split differs")
	}
	digester := digest.SHA256.Digester()
	unpacker := storage.NewJSONUnpacker(bytes.NewReader(plain))
	if err := asm.WriteOutputTarStream(contents(files), unpacker, digester.Hash()); err != nil || digester.Digest() != diffID {
		t.Errorf("tar-split makes %s of the files, want diff ID %s (%v)", digester.Digest(), diffID, err)
	}
	checkFooter(t, blob, desc)
}

type contents map[string][]byte

func (c contents) Get(name string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c[name])), nil
}

// checkChunks compares the chunks of the file that begins at entries[0].
func checkChunks(t *testing.T, blob, content []byte, entries []tocEntry) {
	t.Helper()
	n := 1
	for n < len(entries) && entries[n].Type == tocChunk {
		n++
	}
	if n == 1 {
		return
	}
	var at int64
	for i, e := range entries[:n] {
		end := entries[0].EndOffset
		if i+1 < n {
			end = entries[i+1].Offset
		}
		got := decodeAll(t, blob[e.Offset:end])
		want := content[at : at+e.ChunkSize]
		if e.Name != entries[0].Name || e.ChunkOffset != at || !bytes.Equal(got, want) || digest.FromBytes(got) != e.ChunkDigest {
			t.Errorf("chunk %d of %q is wrong: %+v", i, e.Name, e)
		}
		if (e.ChunkType == tocChunkZeros) != isZero(got) {
			t.Errorf("chunk %d of %q has type %q", i, e.Name, e.ChunkType)
		}
		at += e.ChunkSize
	}
	if at != entries[0].Size {
		t.Errorf("chunks of %q have %d bytes", entries[0].Name, at)
	}
}

func checkFileTable(t *testing.T, blob []byte, desc ocispec.Descriptor, files map[string][]byte) {
	t.Helper()
	size := int64(len(blob))
	tables, err := LayerTables(desc)
	if err != nil {
		t.Fatal(err)
	}
	frame, err := tables.FileTable.Read(bytes.NewReader(blob[tables.FileTable.Offset:]))
	if err != nil {
		t.Fatal(err)
	}
	ft, err := DecodeFileTable(frame, tables.FileTable, size)
	if err != nil {
		t.Fatal(err)
	}
	if len(ft.Files) != len(files) {
		t.Errorf("file table has %d files", len(ft.Files))
	}
	for _, f := range ft.Files {
		if want, ok := files[f.Path]; !ok || !bytes.Equal(decodeAll(t, blob[f.Offset:f.End]), want) {
			t.Errorf("%q by the file table has other content", f.Path)
		}
	}
}

func checkFooter(t *testing.T, blob []byte, desc ocispec.Descriptor) {
	t.Helper()
	last := blob[len(blob)-footerSize:]
	var n [7]uint64
	for i := range n {
		n[i] = binary.LittleEndian.Uint64(last[8*i:])
	}
	got := fmt.Sprintf("%d:%d:%d:%d %d:%d:%d", n[0], n[1], n[2], n[3], n[4], n[5], n[6])
	want := desc.Annotations[AnnotationTOCPosition] + " " + desc.Annotations[AnnotationTarSplitPosition]
	if got != want || string(last[56:]) != footerMagic {
		t.Errorf("footer says %s %q, annotations %s", got, last[56:], want)
	}
}

// TestChunkedTimesUTC: the table must not depend on the zone of the machine.
func TestChunkedTimesUTC(t *testing.T) {
	local := time.Local
	defer func() { time.Local = local }()
	time.Local = time.FixedZone("test", 5*3600)
	blob, desc, _ := compress(t, ZstdChunked, payloadBytes(t, time.Unix(0, 0)), 1<<20)
	_, plain := frameAt(t, blob, desc.Annotations[AnnotationTOCPosition])
	if !bytes.Contains(plain, []byte(`"modtime":"1970-01-01T00:00:00Z"`)) {
		t.Errorf("times are not in UTC: %.300s", plain)
	}
}

// TestChunkedManyHeaders: more headers than wait for one frame, no content.
func TestChunkedManyHeaders(t *testing.T) {
	var b bytes.Buffer
	tw := NewTarWriter(&b, time.Time{})
	for i := range 2000 {
		if err := tw.Dir(fmt.Sprintf("d%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	blob, desc, diffID := compress(t, ZstdChunked, b.Bytes(), 1000)
	if digest.FromBytes(decodeAll(t, blob)) != diffID {
		t.Error("blob decodes to something else")
	}
	if c := readTable(t, blob, desc); len(c.Entries) != 2000 {
		t.Errorf("table has %d entries", len(c.Entries))
	}
	checkFileTable(t, blob, desc, nil)
}

// TestChunkedReuse: an insertion changes few chunks, which is what they are for.
func TestChunkedReuse(t *testing.T) {
	old := pattern(4<<20, 9)
	changed := slices.Concat(old[:1<<20], []byte("inserted"), old[1<<20:])
	chunks := func(data []byte) map[digest.Digest]bool {
		var b bytes.Buffer
		tw := NewTarWriter(&b, time.Time{})
		if _, err := tw.File("image", int64(len(data)), bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		blob, desc, _ := compress(t, ZstdChunked, b.Bytes(), 1<<20)
		m := map[digest.Digest]bool{}
		for _, e := range readTable(t, blob, desc).Entries {
			m[e.ChunkDigest] = true
		}
		return m
	}
	before, after := chunks(old), chunks(changed)
	var fresh int
	for d := range after {
		if !before[d] {
			fresh++
		}
	}
	if fresh == 0 || fresh > 3 || len(after) < 30 {
		t.Errorf("%d of %d chunks are new", fresh, len(after))
	}
}

func TestMeanChunkSize(t *testing.T) {
	for _, test := range []struct {
		payload int64
		want    int
	}{
		{-1, 64 << 10}, {0, 64 << 10}, {1, 16 << 10},
		{1 << 30, 16 << 10}, {1<<30 + 1, 32 << 10}, {700 << 20, 16 << 10},
		{8 << 30, 128 << 10}, {64 << 30, 1 << 20}, {1 << 50, 1 << 20}, {1<<63 - 1, 1 << 20},
	} {
		if got := meanChunkSize(test.payload); got != test.want {
			t.Errorf("meanChunkSize(%d) = %d, want %d", test.payload, got, test.want)
		}
	}
}

func TestChunkerMean(t *testing.T) {
	const mean = 16 << 10
	data := pattern(8<<20, 11)
	c, n := newChunker(mean), 0
	for r := bytes.NewReader(data); ; n++ {
		if _, err := c.next(r); err == io.EOF {
			break
		}
	}
	if got := len(data) / n; got < mean*9/10 || got > mean*11/10 {
		t.Errorf("mean is %d, want about %d", got, mean)
	}
}

func FuzzChunker(f *testing.F) {
	f.Add(pattern(10_000, 1), uint16(1))
	f.Add(make([]byte, 9_000), uint16(4096))
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, step uint16) {
		const mean = 1 << 10
		cuts := func(r io.Reader) (all []byte, sizes []int) {
			c := newChunker(mean)
			for {
				chunk, err := c.next(r)
				if err == io.EOF {
					return all, sizes
				}
				if len(chunk) == 0 || len(chunk) > 4*mean {
					t.Fatalf("chunk of %d bytes", len(chunk))
				}
				all, sizes = append(all, chunk...), append(sizes, len(chunk))
			}
		}
		all, want := cuts(bytes.NewReader(data))
		if !bytes.Equal(all, data) {
			t.Fatal("chunks are not the data")
		}
		if _, got := cuts(&stepReader{data, int(step) + 1}); !slices.Equal(got, want) {
			t.Fatal("boundaries depend on how the data arrives")
		}
	})
}

// stepReader gives at most step bytes at a time.
type stepReader struct {
	data []byte
	step int
}

func (s *stepReader) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), s.step)], s.data)
	s.data = s.data[n:]
	return n, nil
}

func FuzzFileTable(f *testing.F) {
	add := func(t spec.FileTable) {
		frame, err := encodeFileTable(t)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame.data.Bytes(), frame.size, int64(1000))
	}
	add(spec.FileTable{Version: 1, Files: []spec.FileTableEntry{}})
	add(spec.FileTable{Version: 1, Files: []spec.FileTableEntry{{Path: "efi/shim.efi", Offset: 10, End: 30}, {Path: "größe", Offset: 40, End: 40}}})
	f.Add([]byte{}, int64(0), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, plain, blobSize int64) {
		table, err := DecodeFileTable(b, Table{Length: int64(len(b)), Plain: plain}, blobSize)
		if err != nil {
			return
		}
		frame, err := encodeFileTable(*table)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeFileTable(frame.data.Bytes(), frame.table(0), blobSize)
		if err != nil || !slices.Equal(again.Files, table.Files) {
			t.Fatalf("%v became %v, %v", table, again, err)
		}
	})
}
