package archive

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
)

func BenchmarkChunker(b *testing.B) {
	data := random(32 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		c, r := newChunker(16<<10), bytes.NewReader(data)
		for {
			if _, err := c.next(r); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkTarWriter(b *testing.B) {
	data := random(32 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		w := NewTarWriter(io.Discard, time.Time{})
		if _, err := w.File("f", int64(len(data)), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeFileTable(b *testing.B) {
	table := spec.FileTable{Version: spec.FileTableVersion}
	for i := range 10000 {
		table.Files = append(table.Files, spec.FileTableEntry{Path: fmt.Sprintf("dir%d/file%06d", i/100, i), Offset: int64(i) * 100, End: int64(i)*100 + 99})
	}
	table.TarSplit = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	frame, err := encodeFileTable(table)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := DecodeFileTable(frame.data.Bytes(), frame.table(0), 1<<30); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReassemble is the proof of a layer that was read in parts.
func BenchmarkReassemble(b *testing.B) {
	data := random(32 << 20)
	blob, desc, diffID := compress(b, ZstdChunked, tarOf(b, data), 1<<20)
	split := openPartial(b, blob, desc).split
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		id, err := split.Reassemble(b.Context(),
			func(spec.Entry) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
			func(spec.Entry) error { return nil })
		if err != nil || id != diffID {
			b.Fatal(id, err)
		}
	}
}
