package spec

import (
	"regexp"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of docker's image format, schema 2, which consumers read too.
const (
	mediaTypeDockerIndex     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerConfig    = "application/vnd.docker.container.image.v1+json"
	mediaTypeDockerLayer     = "application/vnd.docker.image.rootfs.diff.tar"
	mediaTypeDockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	mediaTypeDockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"
)

// Codec is the compression of a layer blob.
type Codec string

// The codecs that a layer may have.
const (
	CodecNone Codec = "none"
	CodecGzip Codec = "gzip"
	CodecZstd Codec = "zstd"
)

// LayerCodec gives the codec that the media type of a tar layer says. Only the
// media type counts, the first bytes of a blob do not: a zstd:chunked blob may
// begin with a skippable frame. Types that are no tar layer, and those whose
// content lies somewhere else (foreign, non-distributable), are refused.
func LayerCodec(mediaType string) (Codec, error) {
	switch mediaType {
	case ocispec.MediaTypeImageLayer, mediaTypeDockerLayer:
		return CodecNone, nil
	case ocispec.MediaTypeImageLayerGzip, mediaTypeDockerLayerGzip:
		return CodecGzip, nil
	case ocispec.MediaTypeImageLayerZstd, mediaTypeDockerLayerZstd:
		return CodecZstd, nil
	}
	return "", Refuse(RuleLayerType, "", "layer media type %q is not a tar layer", mediaType)
}

// IsIndex tells whether the media type is that of an OCI index or a docker
// manifest list.
func IsIndex(mt string) bool {
	return mt == ocispec.MediaTypeImageIndex || mt == mediaTypeDockerIndex
}

// IsManifest tells whether the media type is that of an OCI manifest or a
// docker manifest, schema 2.
func IsManifest(mt string) bool {
	return mt == ocispec.MediaTypeImageManifest || mt == mediaTypeDockerManifest
}

// IsConfig tells whether the media type is that of an image config.
func IsConfig(mt string) bool {
	return mt == ocispec.MediaTypeImageConfig || mt == mediaTypeDockerConfig
}

// isDocker tells whether a media type belongs to docker's format.
func isDocker(mt string) bool {
	switch mt {
	case mediaTypeDockerIndex, mediaTypeDockerManifest, mediaTypeDockerConfig,
		mediaTypeDockerLayer, mediaTypeDockerLayerGzip, mediaTypeDockerLayerZstd:
		return true
	}
	return false
}

// mediaTypePattern is type "/" subtype as in RFC 6838, section 4.2, with the
// parameters that podman writes behind the type of a text.
var mediaTypePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}(?:; ?[A-Za-z0-9_.+-]{1,64}=[A-Za-z0-9_.+-]{1,64}){0,4}$`)
})
