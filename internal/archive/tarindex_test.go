package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// countingAt counts what is read.
type countingAt struct {
	r     io.ReaderAt
	calls int
	bytes int
}

func (c *countingAt) ReadAt(p []byte, at int64) (int, error) {
	c.calls++
	c.bytes += len(p)
	return c.r.ReadAt(p, at)
}

func TestScanTar(t *testing.T) {
	own := payloadBytes(t, time.Unix(1700000000, 0))
	other := foreignTar(t)
	for name, data := range map[string][]byte{"own": own, "other": other, "no end": own[:len(own)-1024]} {
		entries, want, diffID, err := readLayer(bytes.NewReader(data), plain(data))
		if err != nil {
			t.Fatal(err)
		}
		at := &countingAt{r: bytes.NewReader(data)}
		split, files, err := ScanTar(t.Context(), at, plain(data), 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !slices.Equal(split.Entries(), entries) {
			t.Errorf("%s: entries %v", name, split.Entries())
		}
		content := map[string][]byte{}
		for _, f := range files {
			content[f.Path] = data[f.Offset:f.End]
			if string(content[f.Path]) != want[f.Path] {
				t.Errorf("%s: %q has other content", name, f.Path)
			}
		}
		if len(content) != len(want) {
			t.Errorf("%s: %d files", name, len(content))
		}
		if at.calls > 5 || at.bytes > 200_000 {
			t.Errorf("%s: %d reads of %d bytes", name, at.calls, at.bytes)
		}
		sum, err := split.Reassemble(t.Context(), func(e spec.Entry) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content[e.Path])), nil
		}, func(spec.Entry) error { return nil })
		if err != nil || sum != diffID || sum != digest.FromBytes(data) {
			t.Errorf("%s: diff ID %s, %v", name, sum, err)
		}
	}
}

func TestScanTarRefuses(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	twice := rawTar(member{name: "a", flag: '0', body: "1"}, member{name: "a", flag: '0', body: "2"})
	for name, test := range map[string]struct {
		data []byte
		desc ocispec.Descriptor
	}{
		"zstd":      {data, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Size: int64(len(data))}},
		"cut":       {data[:100_000], plain(data[:100_000])},
		"behind":    {append(bytes.Clone(data), 1), plain(append(bytes.Clone(data), 1))},
		"declared":  {data, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: int64(len(data)), Annotations: map[string]string{spec.AnnotationUncompressedSize: "1"}}},
		"announced": {rawTar(member{name: "a", flag: '0', size: "77777777777"}), plain(make([]byte, 1536))},
		"twice":     {twice, plain(twice)},
	} {
		_, _, err := ScanTar(t.Context(), bytes.NewReader(test.data), test.desc, 1)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		expectRefusal(t, err, "")
	}
	if _, _, err := ScanTar(t.Context(), bytes.NewReader(data[:600]), plain(data), 1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("blob shorter than its descriptor: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := ScanTar(ctx, bytes.NewReader(data), plain(data), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// FuzzScanTar: headers alone say what the whole layer says, and both are refused
// together.
func FuzzScanTar(f *testing.F) {
	f.Add(rawTar(pax('x', "path", "größe/b"), member{name: "x", flag: '0', body: "text"}, member{name: "d", flag: '5'}, member{name: "h", link: "größe/b", flag: '1'}))
	for _, test := range hostileHeaders() {
		if data := rawTar(test.members...); len(data) < 1<<14 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, want, _, err := readLayer(bytes.NewReader(data), plain(data))
		split, files, scanErr := ScanTar(t.Context(), bytes.NewReader(data), plain(data), 1)
		if scanErr != nil {
			if err == nil && !isTwice(entries) {
				t.Fatalf("read as a whole, refused by its headers: %v", scanErr)
			}
			return
		}
		if err != nil || !slices.Equal(split.Entries(), entries) {
			t.Fatalf("by the headers %v, as a whole %v (%v)", split.Entries(), entries, err)
		}
		for _, file := range files {
			if string(data[file.Offset:file.End]) != want[file.Path] {
				t.Errorf("%q has other content", file.Path)
			}
		}
	})
}

// isTwice tells whether a file is there twice, which a LayerReader leaves to the
// check of the whole image.
func isTwice(entries []spec.Entry) bool {
	seen := map[string]bool{}
	for _, e := range entries {
		if e.Type == spec.TypeFile && seen[e.Path] {
			return true
		}
		seen[e.Path] = true
	}
	return false
}
