package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestLayerReaderBounds(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	for name, test := range map[string]struct {
		declared string
		rule     string
	}{
		"exact":        {strconv.Itoa(len(data)), ""},
		"one short":    {strconv.Itoa(len(data) - 1), spec.RuleLayerSize},
		"one more":     {strconv.Itoa(len(data) + 1), spec.RuleLayerSize},
		"less":         {"600", spec.RuleLayerSize},
		"nothing":      {"0", spec.RuleLayerSize},
		"no number":    {"many", spec.RuleLayerSize},
		"negative":     {"-1", spec.RuleLayerSize},
		"over 63 bits": {"9223372036854775808", spec.RuleLayerSize},
	} {
		t.Run(name, func(t *testing.T) {
			desc := plain(data)
			desc.Annotations = map[string]string{spec.AnnotationUncompressedSize: test.declared}
			_, _, _, err := readLayer(bytes.NewReader(data), desc)
			if test.rule == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			expectRefusal(t, err, test.rule)
		})
	}
}

// TestLayerReaderAnnounced: a header that promises more than the bound is refused
// before its content is read.
func TestLayerReaderAnnounced(t *testing.T) {
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "disk", Size: 1 << 40, Mode: 0o444}); err != nil {
		t.Fatal(err)
	}
	head := int64(b.Len())
	source := io.MultiReader(&b, zeros{})
	l, err := NewLayerReader(context.Background(), source, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: head}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Next()
	expectRefusal(t, err, spec.RuleLayerSize)
	if b.Len() != 0 {
		t.Error("header was not read")
	}
}

// TestLayerReaderBombs: small blobs that unpack to 1 GiB, announced by a header or
// as padding, are refused in little memory.
func TestLayerReaderBombs(t *testing.T) {
	const part, parts = 64 << 20, 16
	var head bytes.Buffer
	if err := tar.NewWriter(&head).WriteHeader(&tar.Header{Name: "bomb", Size: part * parts}); err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string][]byte{"announced": head.Bytes(), "padding": nil} {
		for _, c := range []Compression{Gzip, Zstd} {
			t.Run(name+"/"+string(c), func(t *testing.T) {
				blob, desc, _ := compress(t, c, start, blockSize)
				more, _, _ := compress(t, c, make([]byte, part), 1<<20)
				blob = append(blob, bytes.Repeat(more, parts)...)
				desc.Size, desc.Annotations = int64(len(blob)), nil
				runtime.GC()
				meter := &heapMeter{r: bytes.NewReader(blob), every: desc.Size/20 + 1}
				_, _, _, err := readLayer(meter, desc)
				expectRefusal(t, err, spec.RuleLayerSize)
				if meter.peak > 64<<20 {
					t.Errorf("blob of %d bytes takes %d bytes of heap", desc.Size, meter.peak)
				}
			})
		}
	}
}

// TestLayerReaderTrailingBomb: the padding behind the end counts too.
func TestLayerReaderTrailingBomb(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	_, _, _, err := readLayer(io.MultiReader(bytes.NewReader(data), zeros{}), plain(data))
	expectRefusal(t, err, spec.RuleLayerSize)
}

// TestLayerReaderEmptyFrames: very many empty members or frames cost no stack.
func TestLayerReaderEmptyFrames(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	for mediaType, parts := range map[string][2][]byte{
		ocispec.MediaTypeImageLayerGzip: {gzipped(t, nil), gzipped(t, data)},
		ocispec.MediaTypeImageLayerZstd: {{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}, zstded(t, 1<<20, data)},
	} {
		blob := append(bytes.Repeat(parts[0], 50_000), parts[1]...)
		desc := ocispec.Descriptor{MediaType: mediaType, Size: int64(len(blob))}
		if entries, _, _, err := readLayer(bytes.NewReader(blob), desc); err != nil || len(entries) != 9 {
			t.Errorf("%s: %d entries, %v", mediaType, len(entries), err)
		}
	}
}

func TestLayerReaderEntryCount(t *testing.T) {
	for _, extra := range []int{0, 1} {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		for i := range spec.MaxEntries + extra {
			if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("d%d/", i), Typeflag: tar.TypeDir}); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(); err != nil {
			t.Fatal(err)
		}
		_, _, _, err := readLayer(bytes.NewReader(b.Bytes()), plain(b.Bytes()))
		if extra == 0 && err != nil {
			t.Error(err)
		}
		if extra > 0 {
			expectRefusal(t, err, spec.RuleEntryCount)
		}
	}
}
