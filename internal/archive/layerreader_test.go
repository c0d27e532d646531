package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// readLayer reads everything and returns the entries, the contents of the files
// and the diff ID.
func readLayer(r io.Reader, desc ocispec.Descriptor) ([]spec.Entry, map[string]string, digest.Digest, error) {
	l, err := NewLayerReader(context.Background(), r, desc, 1)
	if err != nil {
		return nil, nil, "", err
	}
	defer l.Close()
	var entries []spec.Entry
	files := map[string]string{}
	for {
		e, err := l.Next()
		if err == io.EOF {
			return entries, files, l.DiffID(), nil
		}
		if err != nil {
			return entries, files, l.DiffID(), err
		}
		b, err := io.ReadAll(l)
		if err != nil {
			return entries, files, l.DiffID(), err
		}
		if e.Type == spec.TypeFile {
			files[e.Path] = string(b)
		}
		entries = append(entries, e)
	}
}

// plain describes an uncompressed layer.
func plain(data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Size: int64(len(data))}
}

func TestLayerReaderReadsOwn(t *testing.T) {
	data := payloadBytes(t, time.Unix(1700000000, 0))
	_, want, _, err := readLayer(bytes.NewReader(data), plain(data))
	if err != nil || len(want) != 6 || want["efi/boot/shim.efi"] != "shim" {
		t.Fatalf("%d files, %v", len(want), err)
	}
	for _, c := range Compressions() {
		blob, desc, diffID := compress(t, c, data, 1<<20)
		entries, files, got, err := readLayer(iotest.HalfReader(bytes.NewReader(blob)), desc)
		if err != nil || got != diffID || !maps.Equal(files, want) {
			t.Fatalf("%s: diff ID %s, %v", c, got, err)
		}
		link := spec.Entry{Layer: 1, Path: "efi/boot/BOOT", Type: spec.TypeSymlink, Target: "shim.efi", Mode: 0o777, ModTime: 1700000000}
		dir := spec.Entry{Layer: 1, Path: "efi", Type: spec.TypeDir, Mode: 0o755, ModTime: 1700000000}
		if len(entries) != 9 || entries[8] != link || entries[0] != dir {
			t.Errorf("%s: entries %+v", c, entries)
		}
	}
}

// TestLayerReaderSkips: content that nobody reads still counts for the diff ID.
func TestLayerReaderSkips(t *testing.T) {
	for c, desc := range layers(t) {
		l, err := NewLayerReader(context.Background(), bytes.NewReader(desc.Data), desc, 0)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			if l.DiffID() != "" {
				t.Fatal("diff ID is known before the end")
			}
			_, err = l.Next()
		}
		if want := digest.FromBytes(payloadBytes(t, time.Time{})); err != io.EOF || l.DiffID() != want {
			t.Errorf("%s: %v, diff ID %s", c, err, l.DiffID())
		}
		if _, err := l.Next(); err != io.EOF {
			t.Errorf("%s: Next after the end: %v", c, err)
		}
		l.Close()
	}
}

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

func TestLayerReaderMediaTypes(t *testing.T) {
	for _, mt := range []string{"", "application/octet-stream", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+xz"} {
		_, err := NewLayerReader(context.Background(), bytes.NewReader(nil), ocispec.Descriptor{MediaType: mt}, 0)
		expectRefusal(t, err, spec.RuleLayerType)
	}
}

// TestLayerReaderSourceErrors: a broken source is no bad content, wherever it
// breaks, and a refusal of the source stays one.
func TestLayerReaderSourceErrors(t *testing.T) {
	broken := errors.New("connection reset")
	late := spec.Refuse(spec.RuleDigest, "", "wrong digest")
	for c, desc := range layers(t) {
		for _, at := range []int{0, 1, 5, 700, len(desc.Data) / 2, len(desc.Data) - 1, len(desc.Data)} {
			for _, want := range []error{broken, late, io.ErrUnexpectedEOF} {
				source := io.MultiReader(bytes.NewReader(desc.Data[:at]), iotest.ErrReader(want))
				_, _, diffID, err := readLayer(source, desc)
				var r *spec.Refusal
				if !errors.Is(err, want) || errors.As(err, &r) != (want == error(late)) {
					t.Errorf("%s, source breaks at %d with %v: %v", c, at, want, err)
				}
				if diffID != "" {
					t.Errorf("%s, source breaks at %d: there is a diff ID", c, at)
				}
			}
		}
	}
}

func TestLayerReaderCancelled(t *testing.T) {
	for c, desc := range layers(t) {
		ctx, cancel := context.WithCancel(context.Background())
		l, err := NewLayerReader(ctx, iotest.OneByteReader(bytes.NewReader(desc.Data)), desc, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Next(); err != nil {
			t.Fatal(err)
		}
		cancel()
		for err == nil {
			_, err = l.Next()
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", c, err)
		}
		l.Close()
	}
}

func TestLayerReaderGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, desc := range layers(t) {
		for range 50 {
			l, err := NewLayerReader(context.Background(), bytes.NewReader(desc.Data), desc, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Next(); err != nil {
				t.Fatal(err)
			}
			l.Close()
			l.Close()
			if _, err := l.Next(); err == nil {
				t.Fatal("Next after Close succeeds")
			}
		}
	}
	expectGoroutines(t, before)
}

func BenchmarkLayerReader(b *testing.B) {
	for c, desc := range layers(b) {
		b.Run(string(c), func(b *testing.B) {
			b.SetBytes(int64(len(desc.Data)))
			for b.Loop() {
				if _, _, _, err := readLayer(bytes.NewReader(desc.Data), desc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
