package archive

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// goldenLayers are the digests of the test payload in every compression. They
// change only when the format or a pinned codec does; then say why in the commit.
func goldenLayers() map[Compression]digest.Digest {
	return map[Compression]digest.Digest{
		ZstdChunked: "sha256:2d41b1bcc27f65247e0d82cec3506818af8e50fa74510bea311c8f9bacf15594",
		Zstd:        "sha256:f796d7a378317156a505f88ac581318ee7a7754a6900fad486f362e41be710c1",
		Gzip:        "sha256:a13a0cf7767650a7598663d2cdb9772fde867140c44833a53d6b0b657c8a0de8",
		None:        "sha256:e1283cadeeafef65ad682254a569f8b3130fe93a92eff83010a27f8aaedca740",
	}
}

// compress writes data in pieces of step bytes and returns the blob.
func compress(t testing.TB, c Compression, data []byte, step int, opts ...LayerOption) ([]byte, ocispec.Descriptor, digest.Digest) {
	t.Helper()
	var blob bytes.Buffer
	l, err := NewLayerWriter(&blob, c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	for rest := data; len(rest) > 0; {
		n := min(step, len(rest))
		if _, err := l.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	desc, diffID, err := l.Close()
	if err != nil {
		t.Fatal(err)
	}
	return blob.Bytes(), desc, diffID
}

// layers gives the test payload in every compression.
func layers(t testing.TB) map[Compression]ocispec.Descriptor {
	m := map[Compression]ocispec.Descriptor{}
	data := payloadBytes(t, time.Time{})
	for _, c := range Compressions() {
		blob, desc, _ := compress(t, c, data, 1<<20, WithPayloadSize(int64(len(data))))
		desc.Data = blob
		m[c] = desc
	}
	return m
}

func TestLayerWriterGolden(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	for c, want := range goldenLayers() {
		t.Run(string(c), func(t *testing.T) {
			blob, desc, diffID := compress(t, c, data, 1<<20, WithPayloadSize(int64(len(data))))
			if diffID != digest.FromBytes(data) {
				t.Errorf("diff ID %s is not the digest of the tar", diffID)
			}
			if desc.Digest != digest.FromBytes(blob) || desc.Size != int64(len(blob)) || desc.MediaType != c.MediaType() {
				t.Errorf("descriptor %+v does not describe the blob", desc)
			}
			if got := desc.Annotations[spec.AnnotationUncompressedSize]; got != strconv.Itoa(len(data)) {
				t.Errorf("uncompressed size is %q", got)
			}
			if desc.Digest != want {
				t.Errorf("digest is %s, want %s", desc.Digest, want)
			}
		})
	}
}

// TestLayerWriterReproducible varies what must not matter.
func TestLayerWriterReproducible(t *testing.T) {
	when := time.Unix(1700000000, 0)
	data := payloadBytes(t, when)
	local := time.Local
	defer func() { time.Local = local }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range Compressions() {
		_, want, _ := compress(t, c, data, len(data))
		for _, procs := range []int{1, 2, 7} {
			for _, step := range []int{13, 511, 65536} {
				if step == 13 && procs != 2 {
					continue
				}
				runtime.GOMAXPROCS(procs)
				time.Local = time.FixedZone("test", procs*3600)
				_, got, _ := compress(t, c, payloadBytes(t, when), step)
				if got.Digest != want.Digest {
					t.Errorf("%s: GOMAXPROCS %d, pieces of %d bytes: another digest", c, procs, step)
				}
			}
		}
	}
}

// TestLayerWriterDecodes reads the blobs with the plain codecs.
func TestLayerWriterDecodes(t *testing.T) {
	want := digest.FromBytes(payloadBytes(t, time.Time{}))
	for c, desc := range layers(t) {
		var r io.Reader = bytes.NewReader(desc.Data)
		var err error
		switch c {
		case ZstdChunked, Zstd:
			r, err = zstd.NewReader(r)
		case Gzip:
			var z *gzip.Reader
			if z, err = gzip.NewReader(r); err == nil && (z.Name != "" || z.ModTime.Unix() != 0 || z.Comment != "" || len(z.Extra) > 0) {
				t.Errorf("gzip header is %+v", z.Header)
			}
			r = z
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := digest.FromReader(r); err != nil || got != want {
			t.Errorf("%s decodes to %s, %v", c, got, err)
		}
	}
}

// TestLayerWriterTools reads the blobs with the reference programs.
func TestLayerWriterTools(t *testing.T) {
	want := digest.FromBytes(payloadBytes(t, time.Time{}))
	blobs := layers(t)
	for c, tool := range map[Compression]string{ZstdChunked: "zstd", Zstd: "zstd", Gzip: "gzip"} {
		if testneed.Extra(t, tool) == "" {
			continue
		}
		cmd := exec.Command(tool, "-dc")
		cmd.Stdin = bytes.NewReader(blobs[c].Data)
		out, err := cmd.Output()
		if err != nil || digest.FromBytes(out) != want {
			t.Errorf("%s -dc of %s: other bytes, %v", tool, c, err)
		}
	}
}

func TestLayerWriterErrors(t *testing.T) {
	if _, err := NewLayerWriter(io.Discard, "xz"); err == nil {
		t.Error("unknown compression is accepted")
	}
	broken := errors.New("disk full")
	data := payloadBytes(t, time.Time{})
	for _, c := range Compressions() {
		l, err := NewLayerWriter(writerFunc(func([]byte) error { return broken }), c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Write(data)
		if err == nil {
			_, _, err = l.Close()
		} else {
			l.Abort()
		}
		if !errors.Is(err, broken) {
			t.Errorf("%s: error of the writer became %v", c, err)
		}
		if _, err := l.Write(data); err == nil {
			t.Errorf("%s: Write after the end succeeds", c)
		}
		if _, _, err := l.Close(); err == nil {
			t.Errorf("%s: second Close succeeds", c)
		}
	}
}

// TestLayerWriterNoTar: a table of contents can only be made of a tar.
func TestLayerWriterNoTar(t *testing.T) {
	for name, data := range map[string][]byte{
		"text":  bytes.Repeat([]byte("no tar "), 1000),
		"short": payloadBytes(t, time.Time{})[:700],
		"cut":   payloadBytes(t, time.Time{})[:100_000],
	} {
		l, err := NewLayerWriter(io.Discard, ZstdChunked)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Write(data)
		_, _, closeErr := l.Close()
		var refusal *spec.Refusal
		if !errors.As(errors.Join(err, closeErr), &refusal) {
			t.Errorf("%s: %v, %v", name, err, closeErr)
		}
	}
}

// TestLayerWriterGoroutines: neither Abort nor Close nor an error leaves one. The
// bubble ends when all of its goroutines have; one that stays fails the test.
func TestLayerWriterGoroutines(t *testing.T) {
	data := payloadBytes(t, time.Time{})
	synctest.Test(t, func(t *testing.T) {
		for _, c := range Compressions() {
			for _, n := range []int{0, 100, 700, 100_000, len(data)} {
				l, err := NewLayerWriter(io.Discard, c)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := l.Write(data[:n]); err != nil {
					t.Fatal(err)
				}
				l.Abort()
				l.Abort()
			}
			compress(t, c, data, 1<<20)
		}
		l, err := NewLayerWriter(writerFunc(func([]byte) error { return io.ErrShortWrite }), ZstdChunked)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Write(data); err == nil {
			t.Error("the broken writer is not noticed")
		}
		l.Abort()
	})
}

func TestParseCompression(t *testing.T) {
	for _, c := range Compressions() {
		if got, err := ParseCompression(string(c)); got != c || err != nil {
			t.Errorf("ParseCompression(%q) = %q, %v", c, got, err)
		}
	}
	for _, s := range []string{"", "sha256:f796d7a378317156a505f88ac581318ee7a7754a6900fad486f362e41be710c1", "zstd:chunked ", "xz", "gz"} {
		if _, err := ParseCompression(s); err == nil {
			t.Errorf("ParseCompression(%q) succeeds", s)
		}
	}
}

func BenchmarkLayerWriter(b *testing.B) {
	data := tarOf(b, pattern(4<<20, 5))
	for _, c := range Compressions() {
		b.Run(string(c), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				l, err := NewLayerWriter(io.Discard, c)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := l.Write(data); err != nil {
					b.Fatal(err)
				}
				if _, _, err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
