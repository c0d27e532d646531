package testshelf

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// Boot is a small boot set to be pushed.
type Boot struct {
	Version, Arch string            // os.version, "amd64" when empty
	Files         map[string]string // a kernel when nil
	Notes         map[string]string // manifest annotations
	Labels        map[string]string // besides those of the path
	Created       *time.Time
	Single        bool // one layer holds SHA256SUM and all else
	Chunked       bool // layers are zstd:chunked
	Silent        bool // they do not declare what they unpack to
}

// Push stores a boot set as an image under a tag; the empty one leaves it with
// its digest alone.
func (s *Shelf) Push(repo, tag string, b Boot) ocispec.Descriptor {
	s.t.Helper()
	if b.Arch == "" {
		b.Arch = "amd64"
	}
	if b.Files == nil {
		b.Files = map[string]string{"vmlinuz": "kernel of " + b.Version + b.Arch}
	}
	var sums strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256([]byte(b.Files[name])), name)
	}
	config := ocispec.Image{Created: b.Created, Platform: ocispec.Platform{OS: "linux", Architecture: b.Arch}}
	config.Config.Labels = map[string]string{
		spec.LabelVersion: "1", spec.LabelOSName: "os", spec.LabelOSVersion: b.Version, spec.LabelOSArch: b.Arch,
	}
	maps.Copy(config.Config.Labels, b.Labels)
	config.RootFS.Type = "layers"
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Annotations: b.Notes}
	layers := []map[string]string{{spec.SumsName: sums.String()}, b.Files}
	if b.Single {
		maps.Copy(layers[0], b.Files)
		layers = layers[:1]
	}
	for _, files := range layers {
		plain, packed := Tarball(files)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(plain))
		layer := s.Blob(repo, ocispec.MediaTypeImageLayerGzip, packed)
		if b.Chunked {
			layer = s.chunked(repo, plain)
		}
		if b.Silent {
			delete(layer.Annotations, spec.AnnotationUncompressedSize)
		}
		m.Layers = append(m.Layers, layer)
	}
	m.Config = s.Blob(repo, ocispec.MediaTypeImageConfig, mustJSON(config))
	return s.Put(repo, tag, m.MediaType, mustJSON(m))
}

// chunked stores a tar as a zstd:chunked layer.
func (s *Shelf) chunked(repo string, plain []byte) ocispec.Descriptor {
	s.t.Helper()
	var out bytes.Buffer
	w, err := archive.NewLayerWriter(&out, archive.ZstdChunked)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		s.t.Fatal(err)
	}
	d, _, err := w.Close()
	if err != nil {
		s.t.Fatal(err)
	}
	s.Blob(repo, d.MediaType, out.Bytes())
	return d
}

// Index stores an index of what was pushed.
func (s *Shelf) Index(repo, tag string, entries ...ocispec.Descriptor) ocispec.Descriptor {
	s.t.Helper()
	i := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: entries}
	return s.Put(repo, tag, i.MediaType, mustJSON(i))
}

// On gives a descriptor the platform linux/arch, as the entry of an index has it.
func On(arch string, d ocispec.Descriptor) ocispec.Descriptor {
	d.Platform = &ocispec.Platform{OS: "linux", Architecture: arch}
	return d
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Tarball gives a tar of files, as it is and with gzip.
func Tarball(files map[string]string) (plain, packed []byte) {
	var out, zipped bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o444, Size: int64(len(files[name])), Format: tar.FormatUSTAR})
		_, _ = io.WriteString(w, files[name])
	}
	_ = w.Close()
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(out.Bytes())
	_ = z.Close()
	return out.Bytes(), zipped.Bytes()
}

// Noise is a kernel of n bytes that do not compress: what its layer takes is
// then known from the size of its blob.
func Noise(n int) map[string]string {
	b := make([]byte, n)
	x := uint32(n)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return map[string]string{"vmlinuz": string(b)}
}
