package spec

import (
	"math"
	"strconv"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds that every consumer applies. They are far above what boot files need
// and low enough that a hostile image cannot exhaust a small server.
const (
	MaxManifestSize  = 4 << 20  // bytes of an index, a manifest, a config, each
	MaxSumsSize      = 16 << 20 // bytes of SHA256SUM
	MaxFileTableSize = 16 << 20 // bytes of the file table, compressed and as JSON
	MaxTableSize     = 16 << 20 // compressed bytes of a table of contents or a tar-split
	MaxTOCSize       = 96 << 20 // bytes of a table of contents as JSON
	MaxTarSplitSize  = 96 << 20 // bytes of a tar-split as JSON
	MaxChunks        = 1 << 18  // chunks of a table of contents
	MaxLayers        = 1000     // layers of one manifest
	MaxEntries       = 65536    // tar entries of one image
	MaxNamesSize     = 16 << 20 // bytes of all names and link targets of one image
	MaxIndexDepth    = 8        // indexes on the way to a manifest
	MaxPathLen       = 4096     // bytes of a path or link target
	MaxElementLen    = 255      // bytes of one path element
	MaxPathDepth     = 128      // elements of a path
	MaxJSONDepth     = 64       // nested objects and arrays of a document
	MaxLinkHops      = 40       // links on the way to a link's target, as in Linux

	// A layer that does not declare its size may unpack to
	// UndeclaredFloor + UndeclaredRatio × compressed size bytes.
	UndeclaredFloor = 64 << 20
	UndeclaredRatio = 64
)

// LayerBound gives how many bytes the uncompressed tar of a layer may have, and
// whether the layer declares that number itself. It refuses a declaration that
// is not a decimal number.
func LayerBound(d ocispec.Descriptor) (bound int64, declared bool, err error) {
	if s, ok := d.Annotations[AnnotationUncompressedSize]; ok {
		n, err := parseDecimal(s)
		if err != nil {
			return 0, false, Refuse(RuleLayerSize, AnnotationUncompressedSize, "%q is not a number of bytes", s)
		}
		return n, true, nil
	}
	if d.Size < 0 {
		return 0, false, Refuse(RuleDescriptor, "", "negative size %d", d.Size)
	}
	if d.Size > (math.MaxInt64-UndeclaredFloor)/UndeclaredRatio {
		return math.MaxInt64, false, nil
	}
	return UndeclaredFloor + UndeclaredRatio*d.Size, false, nil
}

// parseDecimal accepts the one way to write a number from 0 to 2^63-1: digits
// without sign or leading zeros.
func parseDecimal(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, strconv.ErrSyntax
	}
	return n, nil
}
