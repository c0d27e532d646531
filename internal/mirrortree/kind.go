package mirrortree

import ocispec "github.com/opencontainers/image-spec/specs-go/v1"

// Kind is the short name of a manifest's media type: the suffix of its file, from
// which a web server knows what to say.
type Kind string

// The kinds of manifests.
const (
	OCIIndex    Kind = "oci-index"
	OCIManifest Kind = "oci-manifest"
	DockerList  Kind = "docker-list"
	DockerV2    Kind = "docker-v2"
)

// Kinds gives all kinds, in the order in which a web server looks for them.
func Kinds() []Kind { return []Kind{OCIIndex, OCIManifest, DockerList, DockerV2} }

// MediaType gives the media type of a kind; "" for none of [Kinds].
func (k Kind) MediaType() string {
	switch k {
	case OCIIndex:
		return ocispec.MediaTypeImageIndex
	case OCIManifest:
		return ocispec.MediaTypeImageManifest
	case DockerList:
		return "application/vnd.docker.distribution.manifest.list.v2+json"
	case DockerV2:
		return "application/vnd.docker.distribution.manifest.v2+json"
	}
	return ""
}

// File gives the name of a manifest's file.
func (k Kind) File() string { return "m." + string(k) }

// KindOf gives the kind of a media type; false if it is that of no manifest.
func KindOf(mediaType string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.MediaType() == mediaType {
			return k, true
		}
	}
	return "", false
}
