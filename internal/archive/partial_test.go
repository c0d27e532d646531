package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/storage/pkg/chunked/compressor"
)

// foreignTar is a tar as other tools write them: "./" in front, owners, times, hard
// links, a long name, a hole, padding to 10 KiB.
func foreignTar(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content []byte) {
		h.Size, h.Uid, h.Uname, h.ModTime = int64(len(content)), 1000, "builder", time.Unix(1700000000, 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	hole := slices.Concat(pattern(100_000, 1), make([]byte, 900_000), pattern(5_000, 2))
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, nil)
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./boot/", Mode: 0o700}, nil)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./boot/initrd.img", Mode: 0o644}, pattern(700_000, 3))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./boot/disk.img", Mode: 0o644}, hole)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./boot/empty", Mode: 0o600}, nil)
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "./boot/linux", Linkname: "initrd.img"}, nil)
	add(tar.Header{Typeflag: tar.TypeLink, Name: "./boot/again", Linkname: "./boot/initrd.img"}, nil)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "./" + string(bytes.Repeat([]byte("long/"), 40)) + "größe", Mode: 0o644}, []byte("text"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b.Write(make([]byte, 10240-b.Len()%10240))
	return b.Bytes()
}

// foreignBlob compresses a tar as podman does.
func foreignBlob(t testing.TB, data []byte) ([]byte, ocispec.Descriptor) {
	t.Helper()
	var b bytes.Buffer
	annotations := map[string]string{}
	w, err := compressor.ZstdCompressor(&b, annotations, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageLayerZstd, Digest: digest.FromBytes(b.Bytes()), Size: int64(b.Len()), Annotations: annotations,
	}
}

// partial is what a client has that reads a layer by its tables.
type partial struct {
	tables Tables
	toc    *TOC
	split  *TarSplit
}

func openPartial(t testing.TB, blob []byte, desc ocispec.Descriptor) partial {
	t.Helper()
	var p partial
	var err error
	if p.tables, err = LayerTables(desc); err != nil {
		t.Fatal(err)
	}
	frame, err := p.tables.TOC.Read(bytes.NewReader(blob[p.tables.TOC.Offset:]))
	if err != nil {
		t.Fatal(err)
	}
	if p.toc, err = DecodeTOC(context.Background(), frame, p.tables.TOC, desc.Size); err != nil {
		t.Fatal(err)
	}
	p.tables.TarSplit.Digest = p.toc.TarSplit
	if frame, err = p.tables.TarSplit.Read(bytes.NewReader(blob[p.tables.TarSplit.Offset:])); err != nil {
		t.Fatal(err)
	}
	if p.split, err = DecodeTarSplit(context.Background(), frame, p.tables.TarSplit, desc, 1); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPartial reads the blobs of both writers by their tables, and proves them.
func TestPartial(t *testing.T) {
	own := payloadBytes(t, time.Unix(1700000000, 0))
	ownBlob, ownDesc, _ := compress(t, ZstdChunked, own, 1<<20, WithPayloadSize(int64(len(own))))
	other := foreignTar(t)
	otherBlob, otherDesc := foreignBlob(t, other)
	mixed, mixedDesc, _ := compress(t, ZstdChunked, other, 1<<20)
	for name, test := range map[string]struct {
		blob, tar []byte
		desc      ocispec.Descriptor
	}{
		"own":                      {ownBlob, own, ownDesc},
		"containers/storage":       {otherBlob, other, otherDesc},
		"own of a tar from others": {mixed, other, mixedDesc},
	} {
		t.Run(name, func(t *testing.T) {
			entries, want, diffID, err := readLayer(bytes.NewReader(test.blob), test.desc)
			if err != nil {
				t.Fatal(err)
			}
			p := openPartial(t, test.blob, test.desc)
			if !slices.Equal(p.split.Entries(), entries) {
				t.Errorf("tar-split has other entries:\n%v\n%v", p.split.Entries(), entries)
			}
			if p.split.Size() != int64(len(test.tar)) {
				t.Errorf("tar-split makes %d bytes, want %d", p.split.Size(), len(test.tar))
			}
			got := fetchChunks(t, test.blob, p.toc)
			if !maps.Equal(got, want) {
				t.Error("the chunks are not the files")
			}
			sums := map[string]string{}
			sum, err := p.split.Reassemble(context.Background(), func(e spec.Entry) (io.ReadCloser, error) {
				return io.NopCloser(iotest.HalfReader(bytes.NewReader([]byte(got[e.Path])))), nil
			}, func(e spec.Entry) error {
				sums[e.Path] = e.SHA256
				return nil
			})
			if err != nil || sum != diffID || sum != digest.FromBytes(test.tar) {
				t.Errorf("diff ID is %s, want %s (%v)", sum, diffID, err)
			}
			for path, content := range want {
				if s := sha256.Sum256([]byte(content)); sums[path] != hex.EncodeToString(s[:]) {
					t.Errorf("%q has sha256 %q", path, sums[path])
				}
			}
		})
	}
}

// fetchChunks reads every file twice, chunk by chunk and as a whole.
func fetchChunks(t *testing.T, blob []byte, toc *TOC) map[string]string {
	t.Helper()
	r, err := NewFrameReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read := func(from, to, size int64) []byte {
		if err := r.Reset(t.Context(), iotest.HalfReader(bytes.NewReader(blob[from:to])), size); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || int64(len(b)) != size {
			t.Fatalf("range %d-%d: %d bytes, %v", from, to, len(b), err)
		}
		return b
	}
	files := map[string]string{}
	var cut, zeros int
	for _, f := range toc.Files {
		var all []byte
		for _, c := range f.Chunks {
			b := read(c.Offset, c.End, c.Size)
			if sha256.Sum256(b) != c.SHA256 || c.Zeros && !isZero(b) {
				t.Errorf("chunk at %d of %q has other content", c.Offset, f.Path)
			}
			if c.Zeros {
				zeros++
			}
			all = append(all, b...)
		}
		if n := len(f.Chunks); n > 0 {
			if whole := read(f.Chunks[0].Offset, f.Chunks[n-1].End, f.Size); !bytes.Equal(whole, all) || sha256.Sum256(all) != f.SHA256 {
				t.Errorf("%q in one range has other content", f.Path)
			}
		}
		if len(f.Chunks) > 1 {
			cut++
		}
		if int64(len(all)) != f.Size {
			t.Errorf("%q has %d bytes", f.Path, len(all))
		}
		files[f.Path] = string(all)
	}
	if cut == 0 || zeros == 0 {
		t.Errorf("%d files are cut, %d chunks are holes", cut, zeros)
	}
	return files
}
