package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"maps"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

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
	blobs := layers(t)
	synctest.Test(t, func(t *testing.T) {
		for _, desc := range blobs {
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
	})
}

// BenchmarkLayerReader does what a client does besides: it digests the blob on one
// side and the files on the other.
func BenchmarkLayerReader(b *testing.B) {
	for kind, content := range map[string][]byte{"random": random(64 << 20), "text": text(64 << 20)} {
		data := tarOf(b, content)
		for _, c := range Compressions() {
			blob, desc, _ := compress(b, c, data, 1<<20, WithPayloadSize(int64(len(data))))
			b.Run(kind+"/"+string(c), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				before := cpuTime(b)
				for b.Loop() {
					sum := sha256.New()
					l, err := NewLayerReader(b.Context(), io.TeeReader(bytes.NewReader(blob), sum), desc, 0)
					if err != nil {
						b.Fatal(err)
					}
					for err == nil {
						if _, err = l.Next(); err == nil {
							_, err = io.CopyBuffer(writerOnly{sha256.New()}, l, make([]byte, 128<<10))
						}
					}
					if err != io.EOF {
						b.Fatal(err)
					}
					l.Close()
				}
				cpu := cpuTime(b) - before
				b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/float64(len(data)), "cpu-ns/B")
			})
		}
	}
}
