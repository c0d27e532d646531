package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

var testSums = strings.NewReplacer("$A", "sha256:"+strings.Repeat("a", 64), "$B", "sha256:"+strings.Repeat("b", 64))

// decodeTOC compresses a document and reads it as the table of a blob of 1000 bytes.
func decodeTOC(t testing.TB, doc string) (*TOC, error) {
	t.Helper()
	f := metaFrameOf(t, []byte(doc))
	return DecodeTOC(context.Background(), f.data.Bytes(), f.table(0), 1000)
}

func metaFrameOf(t testing.TB, data []byte) *metaFrame {
	t.Helper()
	f, err := newMetaFrame()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDecodeTOC(t *testing.T) {
	toc, err := decodeTOC(t, testSums.Replace(`{"extra":{"a":[1,{}],"A":null},"tarSplitDigest":"$B","entries":[
		{"type":"dir","name":"./","mode":493,"modtime":"2024-01-01T00:00:00Z"},
		{"name":"./a","type":"reg","size":9,"digest":"$A","offset":5,"endOffset":90,"xattrs":{"user.x":"eA==","User.X":""},"uid":-1,"future":1},
		{"type":"symlink","name":"l","linkName":"a"},
		{"type":"char","name":"../null"},
		{"type":"reg","name":"empty","offset":3},
		{"type":"reg","name":"b","size":9,"digest":"$A","offset":90,"endOffset":1000,"chunkSize":4,"chunkDigest":"$B"},
		{"type":"chunk","name":"b","offset":95,"chunkOffset":4,"chunkSize":3,"chunkType":"zeros","chunkDigest":"$A"},
		{"type":"chunk","name":"b","offset":96,"chunkOffset":7,"chunkSize":2,"chunkDigest":"$B"},
		{"type":"reg","name":"c/d"}],"version":1}`))
	if err != nil {
		t.Fatal(err)
	}
	if toc.TarSplit.String() != testSums.Replace("$B") || len(toc.Files) != 4 {
		t.Fatalf("table is %+v", toc)
	}
	sumA, _ := parseSum(digest.Digest(testSums.Replace("$A")))
	sumB, _ := parseSum(digest.Digest(testSums.Replace("$B")))
	want := []string{
		fmt.Sprint(ChunkedFile{"a", 9, sumA, []Chunk{{5, 90, 9, sumA, false}}}),
		fmt.Sprint(ChunkedFile{Path: "empty"}),
		fmt.Sprint(ChunkedFile{"b", 9, sumA, []Chunk{{90, 95, 4, sumB, false}, {95, 96, 3, sumA, true}, {96, 1000, 2, sumB, false}}}),
		fmt.Sprint(ChunkedFile{Path: "c/d"}),
	}
	for i, f := range toc.Files {
		if fmt.Sprint(f) != want[i] {
			t.Errorf("file %d is %v, want %s", i, f, want[i])
		}
	}
	for _, doc := range []string{`{"version":1}`, `{"version":1,"entries":null}`, ` { "entries" : [ ] , "version" : 1 } `} {
		if toc, err := decodeTOC(t, doc); err != nil || len(toc.Files) != 0 {
			t.Errorf("%s: %v, %v", doc, toc, err)
		}
	}
}

func TestDecodeTOCRefuses(t *testing.T) {
	text, err := os.ReadFile("testdata/toc-refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, doc, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			toc, err := decodeTOC(t, testSums.Replace(doc))
			expectRefusal(t, err, "")
			if toc != nil {
				t.Error("there is a table")
			}
		})
	}
}

// TestDecodeTOCBounds: lists and values that are too long are refused while they are
// read.
func TestDecodeTOCBounds(t *testing.T) {
	const entry = `{"type":"reg","name":"a","size":%d,"digest":"$A","offset":0,"endOffset":1000000,"chunkSize":1,"chunkDigest":"$A"}`
	chunks := func(n int) string {
		var b strings.Builder
		fmt.Fprintf(&b, `{"version":1,"entries":[`+entry, n)
		for i := 1; i < n; i++ {
			fmt.Fprintf(&b, `,{"type":"chunk","name":"a","offset":%d,"chunkOffset":%d,"chunkSize":1,"chunkDigest":"$A"}`, i, i)
		}
		return b.String() + "]}"
	}
	const maxFiles, maxChunks = 30, 100
	for name, test := range map[string]struct {
		doc  string
		fits bool
	}{
		"chunks":          {chunks(maxChunks), true},
		"too many chunks": {chunks(maxChunks + 1), false},
		"files":           {`{"version":1,"entries":[` + many(maxFiles) + `]}`, true},
		"too many files":  {`{"version":1,"entries":[` + many(maxFiles+1) + `]}`, false},
		"long value":      {`{"version":1,"entries":[{"type":"dir","name":"` + strings.Repeat("x", 1<<20) + `"}]}`, true},
		"too long value":  {`{"version":1,"entries":[{"type":"dir","name":"` + strings.Repeat("x", 3<<20) + `"}]}`, false},
		"long list":       {`{"version":1,"entries":[` + strings.Repeat(`{"type":"dir","name":"`+strings.Repeat("x", 1000)+`"},`, 3000) + `{}]}`, true},
		"long elsewhere":  {`{"version":1,"other":["` + strings.Repeat(`x","`, 1<<20) + `"]}`, false},
	} {
		p := newTOCParser(t.Context(), strings.NewReader(testSums.Replace(test.doc)), 1_000_000)
		if p.maxFiles != spec.MaxEntries || p.maxChunks != spec.MaxChunks {
			t.Fatalf("bounds are %d files, %d chunks", p.maxFiles, p.maxChunks)
		}
		p.maxFiles, p.maxChunks = maxFiles, maxChunks
		err := p.parse()
		if test.fits {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		expectRefusal(t, err, spec.RuleChunkTable)
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"reg","name":"f%d"}`, i)
	}
	return b.String()
}

func TestDecodeTOCFrames(t *testing.T) {
	f := metaFrameOf(t, []byte(`{"version":1,"entries":[]}`))
	frame, at := f.data.Bytes(), f.table(0)
	for name, test := range map[string]struct {
		frame []byte
		plain int64
	}{
		"shorter":  {frame, at.Plain + 1},
		"longer":   {frame, at.Plain - 1},
		"nothing":  {frame, 0},
		"negative": {frame, -1},
		"huge":     {frame, math.MaxInt64},
		"cut":      {frame[:len(frame)-1], at.Plain},
		"empty":    {nil, at.Plain},
		"no zstd":  {[]byte(`{"version":1,"entries":[]}`), at.Plain},
		"behind":   {append(frame[:len(frame):len(frame)], 1), at.Plain},
	} {
		_, err := DecodeTOC(t.Context(), test.frame, Table{Plain: test.plain}, 1000)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		expectRefusal(t, err, spec.RuleChunkTable)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f = metaFrameOf(t, []byte(`{"version":1,"entries":[{}]}`))
	if _, err := DecodeTOC(ctx, f.data.Bytes(), f.table(0), 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func FuzzTOC(f *testing.F) {
	f.Add(`{"version":1,"entries":[{"type":"reg","name":"a","size":9,"digest":"$A","offset":5,"endOffset":9}]}`)
	f.Add(`{"entries":[{"type":"reg","name":"b","size":9,"digest":"$A","offset":9,"endOffset":99,"chunkSize":4,"chunkDigest":"$B"},` +
		`{"type":"chunk","name":"b","offset":95,"chunkOffset":4,"chunkSize":5,"chunkType":"zeros","chunkDigest":"$A"}],"version":1}`)
	if text, err := os.ReadFile("testdata/toc-refused.txt"); err == nil {
		for line := range strings.Lines(string(text)) {
			_, doc, _ := strings.Cut(line, "\t")
			f.Add(doc)
		}
	}
	f.Fuzz(func(t *testing.T, doc string) {
		// Without compression, which is slow to make and the decoder's to fuzz.
		p := newTOCParser(t.Context(), strings.NewReader(testSums.Replace(doc)), 1000)
		if err := p.parse(); err != nil {
			return
		}
		toc := &p.toc
		var reached int64
		seen := map[string]bool{}
		for _, file := range toc.Files {
			if spec.CheckPath(file.Path) != nil || seen[file.Path] || (file.Size == 0) != (len(file.Chunks) == 0) {
				t.Fatalf("accepted %+v", file)
			}
			seen[file.Path] = true
			var size int64
			for i, c := range file.Chunks {
				if c.Size <= 0 || c.Offset < reached || c.End <= c.Offset || c.End > 1000 || i > 0 && c.Offset != reached {
					t.Fatalf("accepted %+v", file)
				}
				reached = c.End
				size += c.Size
			}
			if size != file.Size {
				t.Fatalf("%d of %d bytes in chunks", size, file.Size)
			}
		}
	})
}
