package spec

import (
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations with which ORAS marks a layer that is a directory, packed as a tar.
const (
	// AnnotationUnpack is "true" on such a layer.
	AnnotationUnpack = "io.deis.oras.content.unpack"
	// AnnotationUnpackDigest is the diff ID of the tar.
	AnnotationUnpackDigest = "io.deis.oras.content.digest"
)

// emptyJSON is the content of an empty config, and of the layer of an artifact
// that has no other.
const emptyJSON = "{}"

// ArtifactLayer is what the manifest promises of one layer of an artifact.
type ArtifactLayer struct {
	// Path is the title: a permitted path, or "." for a directory that is
	// unpacked at the top of the tree.
	Path string
	// Dir tells that the layer is a tar, to be unpacked at Path.
	Dir bool
	// Codec is that of the file; a tar has the one of its media type.
	Codec Codec
	// Digest is that of the file's content, a sha256 one if there is any, or
	// the diff ID of the tar. It is empty where nothing says it.
	Digest digest.Digest
	// Size is the length of the file in bytes, -1 where nothing says it.
	Size int64
	// Bound is how many bytes the file or the tar may have at most.
	Bound int64
}

// SHA256 gives the promised checksum of a file in lower-case hex, or "".
func (l ArtifactLayer) SHA256() string {
	if l.Dir || l.Digest == "" || l.Digest.Algorithm() != digest.SHA256 {
		return ""
	}
	return l.Digest.Encoded()
}

// Holds tells whether the layer can make something at path.
func (l ArtifactLayer) Holds(path string) bool {
	return l.Path == path || l.Dir && (l.Path == "." || strings.HasPrefix(path, l.Path+"/"))
}

// ParseArtifactLayer reads the descriptor of a layer of an artifact. ok is false
// for the placeholder of an artifact without files, which holds nothing. The
// codec follows from the media type alone; only MediaTypeFileZstd has one, for a
// file of any other type is wanted as it was stored, be it compressed or not.
func ParseArtifactLayer(d ocispec.Descriptor) (l ArtifactLayer, ok bool, err error) {
	if err := CheckDescriptor(d); err != nil {
		return l, false, err
	}
	l.Path = d.Annotations[ocispec.AnnotationTitle]
	l.Dir = d.Annotations[AnnotationUnpack] == "true"
	switch {
	case l.Path == "" && d.MediaType == ocispec.MediaTypeEmptyJSON && isEmptyJSON(d):
		return l, false, nil
	case l.Path == "":
		return l, false, Refuse(RuleTitle, "", "layer %s of type %q has no title", d.Digest, d.MediaType)
	case l.Path == "." && l.Dir:
	default:
		if err := CheckPath(l.Path); err != nil {
			return l, false, err
		}
	}
	if l.Dir {
		err = l.directory(d)
	} else {
		err = l.file(d)
	}
	return l, err == nil, err
}

// isEmptyJSON tells whether a descriptor names the two bytes of an empty object.
func isEmptyJSON(d ocispec.Descriptor) bool {
	return d.Size == int64(len(emptyJSON)) && d.Digest.Algorithm().Available() && d.Digest == d.Digest.Algorithm().FromString(emptyJSON)
}

func (l *ArtifactLayer) directory(d ocispec.Descriptor) error {
	var err error
	if l.Codec, err = LayerCodec(d.MediaType); err != nil {
		return Refuse(RuleLayerType, l.Path, "the layer is a directory to unpack, but its media type %q is not a tar layer", d.MediaType)
	}
	l.Size = -1
	if l.Bound, _, err = LayerBound(d); err != nil {
		return err
	}
	s, ok := d.Annotations[AnnotationUnpackDigest]
	if !ok {
		return nil
	}
	if l.Digest, err = ParseDigest(s); err == nil && l.Digest.Algorithm() != digest.SHA256 {
		err = Refuse(RuleDigestSyntax, AnnotationUnpackDigest, "%q is not a sha256 digest, as diff IDs are", s)
	}
	return err
}

func (l *ArtifactLayer) file(d ocispec.Descriptor) error {
	src, size, err := fileSource(d)
	if err != nil {
		return err
	}
	if d.MediaType == MediaTypeFileZstd {
		l.Codec, l.Digest, l.Size, l.Bound = CodecZstd, src, size, size
		if size < 0 {
			l.Bound, _, err = LayerBound(ocispec.Descriptor{Size: d.Size})
		}
		return err
	}
	l.Codec, l.Digest, l.Size, l.Bound = CodecNone, d.Digest, d.Size, d.Size
	if size >= 0 && size != d.Size {
		return Refuse(RuleLayerSize, l.Path, "%s is %d, but the layer, which is the file as it is, has %d bytes", AnnotationSrcSize, size, d.Size)
	}
	if src != "" && src.Algorithm() == d.Digest.Algorithm() && src != d.Digest {
		return Refuse(RuleDigest, l.Path, "%s is %s, but the layer, which is the file as it is, has the digest %s", AnnotationSrcDigest, src, d.Digest)
	}
	if src != "" && src.Algorithm() == digest.SHA256 {
		l.Digest = src
	}
	return nil
}

// fileSource reads the annotations about the file before any compression: an
// empty digest and -1 where there are none.
func fileSource(d ocispec.Descriptor) (src digest.Digest, size int64, err error) {
	if s, ok := d.Annotations[AnnotationSrcDigest]; ok {
		if src, err = ParseDigest(s); err != nil {
			return "", 0, err
		}
	}
	s, ok := d.Annotations[AnnotationSrcSize]
	if !ok {
		return src, -1, nil
	}
	if size, err = parseDecimal(s); err != nil {
		return "", 0, Refuse(RuleLayerSize, AnnotationSrcSize, "%q is not a number of bytes", shorten(s))
	}
	return src, size, nil
}
