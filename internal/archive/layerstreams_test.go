package archive

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func gzipped(t testing.TB, parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		z := gzip.NewWriter(&b)
		if _, err := z.Write(p); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func zstded(t testing.TB, window int, parts ...[]byte) []byte {
	var b bytes.Buffer
	for _, p := range parts {
		z, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(z, iotest.OneByteReader(bytes.NewReader(p[:1]))); err != nil {
			t.Fatal(err)
		}
		if err := z.Flush(); err != nil { // a frame that does not know its size
			t.Fatal(err)
		}
		if _, err := z.Write(p[1:]); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// TestLayerReaderAcceptsStreams: odd but honest ways to compress a layer.
func TestLayerReaderAcceptsStreams(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	skippable := []byte{0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	const (
		docker = "application/vnd.docker.image.rootfs.diff.tar"
		z      = ocispec.MediaTypeImageLayerZstd
	)
	half := len(data) / 2
	for name, test := range map[string]struct {
		mediaType string
		blob      []byte
	}{
		"gzip members":               {ocispec.MediaTypeImageLayerGzip, gzipped(t, data[:half], data[half:])},
		"empty gzip members":         {docker + ".gzip", gzipped(t, nil, nil, data, nil)},
		"zstd frames":                {z, zstded(t, 1<<20, data[:half], data[half:])},
		"leading skippable frame":    {z, append(bytes.Clone(skippable), zstded(t, 1<<20, data)...)},
		"skippable frames all over":  {docker + ".zstd", slices.Concat(skippable, zstded(t, 1<<20, data[:half]), skippable, skippable, zstded(t, 1<<20, data[half:]), skippable)},
		"zstd window of 32 MiB":      {z, zstded(t, 32<<20, data)},
		"plain":                      {docker, data},
		"blocking factor":            {docker, append(bytes.Clone(data), make([]byte, 10240)...)},
		"padding of odd length":      {docker, append(bytes.Clone(data), make([]byte, 77)...)},
		"no end marker":              {docker, data[:len(data)-1024]},
		"one block of end marker":    {docker, data[:len(data)-512]},
		"end marker of seven blocks": {docker, append(bytes.Clone(data), make([]byte, 5*512)...)},
	} {
		t.Run(name, func(t *testing.T) {
			desc := ocispec.Descriptor{MediaType: test.mediaType, Size: int64(len(test.blob))}
			source := bytes.NewReader(test.blob)
			entries, _, diffID, err := readLayer(source, desc)
			if err != nil || len(entries) != 9 || diffID == "" {
				t.Fatalf("%d entries, diff ID %s, %v", len(entries), diffID, err)
			}
			if source.Len() > 0 {
				t.Errorf("%d bytes of the blob were not read", source.Len())
			}
		})
	}
}

func TestLayerReaderRefusesStreams(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	gz, zs := gzipped(t, data), zstded(t, 1<<20, data)
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	const (
		n = ocispec.MediaTypeImageLayer
		g = ocispec.MediaTypeImageLayerGzip
		z = ocispec.MediaTypeImageLayerZstd
	)
	for name, test := range map[string]struct {
		mediaType string
		blob      []byte
	}{
		"none is not sniffed, gzip":     {n, gz},
		"none is not sniffed, zstd":     {n, zs},
		"gzip is zstd":                  {g, zs},
		"zstd is gzip":                  {z, gz},
		"gzip is plain":                 {g, data},
		"zstd is plain":                 {z, data},
		"empty gzip blob":               {g, nil},
		"gzip cut":                      {g, gz[:len(gz)-100]},
		"gzip without trailer":          {g, gz[:len(gz)-4]},
		"gzip checksum":                 {g, flip(gz, len(gz)-8)},
		"gzip data":                     {g, flip(gz, len(gz)/2)},
		"garbage behind gzip":           {g, append(bytes.Clone(gz), "garbage, and more"...)},
		"one byte behind gzip":          {g, append(bytes.Clone(gz), 0)},
		"cut second gzip member":        {g, append(bytes.Clone(gz), gz[:5]...)},
		"zstd cut":                      {z, zs[:len(zs)-100]},
		"zstd without checksum":         {z, zs[:len(zs)-2]},
		"zstd checksum":                 {z, flip(zs, len(zs)-1)},
		"garbage behind zstd":           {z, append(bytes.Clone(zs), "garbage, and more"...)},
		"one byte behind zstd":          {z, append(bytes.Clone(zs), 0)},
		"cut skippable frame":           {z, append(bytes.Clone(zs), 0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1)},
		"zstd window of 64 MiB":         {z, zstded(t, 64<<20, data)},
		"plain cut in the content":      {n, data[:100_000]},
		"plain cut in a header":         {n, data[:700]},
		"garbage behind the end":        {n, append(bytes.Clone(data), 1)},
		"garbage far behind the end":    {n, slices.Concat(data, make([]byte, 100_000), []byte{1})},
		"second archive behind the end": {n, slices.Concat(data, data)},
		"second archive as a member":    {g, gzipped(t, data, data)},
		"text":                          {n, bytes.Repeat([]byte("text"), 1000)},
	} {
		t.Run(name, func(t *testing.T) {
			desc := ocispec.Descriptor{MediaType: test.mediaType, Size: int64(len(test.blob))}
			_, _, diffID, err := readLayer(bytes.NewReader(test.blob), desc)
			expectRefusal(t, err, "")
			if diffID != "" {
				t.Error("there is a diff ID")
			}
		})
	}
}

func expectRefusal(t *testing.T, err error, rule string) {
	t.Helper()
	var r *spec.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error is %v, not a refusal", err)
	}
	if rule != "" && r.Rule != rule {
		t.Errorf("%v: rule is %s, want %s", err, r.Rule, rule)
	}
}
