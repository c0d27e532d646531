package archive

import (
	"fmt"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Compression names how a layer is stored, in the words of the --compression flag.
type Compression string

// The compressions of the format.
const (
	ZstdChunked Compression = "zstd:chunked" // zstd with a table of contents, for partial fetches
	Zstd        Compression = "zstd"
	Gzip        Compression = "gzip"
	None        Compression = "none"
)

// Compressions lists the valid names, the default first.
func Compressions() []Compression {
	return []Compression{ZstdChunked, Zstd, Gzip, None}
}

// ParseCompression accepts exactly the names of [Compressions].
func ParseCompression(s string) (Compression, error) {
	if c := Compression(s); slices.Contains(Compressions(), c) {
		return c, nil
	}
	var names []string
	for _, c := range Compressions() {
		names = append(names, string(c))
	}
	return "", fmt.Errorf("unknown compression %q, use one of %s", s, strings.Join(names, ", "))
}

// MediaType is the OCI media type of a layer stored this way; zstd:chunked is
// ordinary zstd to everyone who does not read its annotations.
func (c Compression) MediaType() string {
	switch c {
	case ZstdChunked, Zstd:
		return ocispec.MediaTypeImageLayerZstd
	case Gzip:
		return ocispec.MediaTypeImageLayerGzip
	default:
		return ocispec.MediaTypeImageLayer
	}
}
