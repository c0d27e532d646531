package index

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const annotationDiskType = spec.AnnotationDiskType

// identity tells the entries of an index apart: there may be one of each.
type identity struct {
	platform     spec.Platform
	artifactType string
	annotations  string // those that were chosen: keys and values, each ended by a zero
}

// identityOf gives the identity of an entry in the index at a tag. keys are the
// annotations that count; an annotation that is empty is as good as none. An
// os.version that equals the tag adds nothing to it, and is as good as none, too.
func identityOf(index string, d ocispec.Descriptor, keys []string) identity {
	id := identity{platform: platformOf(d.Platform), artifactType: d.ArtifactType}
	if id.platform.OSVersion == index {
		id.platform.OSVersion = ""
	}
	var text strings.Builder
	for _, k := range keys {
		if v := d.Annotations[k]; v != "" {
			text.WriteString(k + "\x00" + v + "\x00")
		}
	}
	id.annotations = text.String()
	return id
}

// hash tells identities apart in tags. How it is made is part of the format: the
// first 12 hex digits of the sha256 of platform, artifactType and the chosen
// annotations, sorted by key, all of these texts ended by a zero byte.
func (id identity) hash() string {
	platform := ""
	if id.platform != (spec.Platform{}) {
		platform = id.platform.IndexString()
	}
	sum := sha256.Sum256([]byte(platform + "\x00" + id.artifactType + "\x00" + id.annotations))
	return hex.EncodeToString(sum[:6])
}

// platformOf gives a platform for comparisons. One that means nothing to boot
// files, such as the unknown/unknown of attestations, stays as it is written.
func platformOf(p *ocispec.Platform) spec.Platform {
	if known, ok := spec.PlatformOf(p); ok {
		return known
	}
	if p == nil {
		return spec.Platform{}
	}
	return spec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion}
}

// platformString shows a platform to people; it is empty where there is none.
func platformString(p *ocispec.Platform) string {
	if p == nil {
		return ""
	}
	return platformOf(p).IndexString()
}

// defaultKeys are the annotations that count unless a user chose others.
func defaultKeys() []string { return []string{annotationDiskType} }

// parseKeys reads the annotation of a child that names them.
func parseKeys(text string) []string {
	if text == "" {
		return defaultKeys()
	}
	return cleanKeys(strings.Split(text, ","))
}

// cleanKeys sorts keys, each once; none are the default.
func cleanKeys(keys []string) []string {
	if len(keys) == 0 {
		return defaultKeys()
	}
	keys = slices.Sorted(slices.Values(keys))
	return slices.Compact(keys)
}

// maxTag is how long a tag may be (OCI distribution specification), and
// tagWord what every tag and every name in a layout may end with.
const maxTag = 128

var tagWord = regexp.MustCompile(`^-[A-Za-z0-9]+(?:[-._][A-Za-z0-9]+)*$`)

// ChildTag gives the tag under which a build publishes a child of the index, whose
// entry will have this platform, artifactType and disktype.
func ChildTag(index string, entry ocispec.Descriptor) (string, error) {
	return childTag(index, entry, defaultKeys())
}

// shortTag gives the tag that people expect. It is that of childTag where that
// needs no hash; else it only names what was built last.
func shortTag(index string, d ocispec.Descriptor) string {
	kind, _ := kindOf(d)
	return spec.ChildTag(index, platformOf(d.Platform), kind)
}

// childTag gives the one tag under which a child of the index counts. It
// follows from the identity alone, and no two identities share one: where
// architecture, variant and kind do not say all, a hash of the identity does.
func childTag(index string, d ocispec.Descriptor, keys []string) (string, error) {
	id := identityOf(index, d, keys)
	kind, plain := kindOf(d)
	_, known := spec.PlatformOf(d.Platform)
	plain = plain && known && id.platform.OS == "linux" && id.platform.OSVersion == "" && slices.Equal(keys, defaultKeys())
	tag := spec.ChildTag(index, id.platform, kind)
	usual := known && tagWord.MatchString(strings.TrimPrefix(tag, index))
	if !usual {
		tag = index + "-entry" // odd words of a foreign platform, or none
	}
	if !plain || !usual {
		tag += "-" + id.hash()
	}
	if len(tag) > maxTag {
		return "", badUse("choose a shorter tag for the index", "%q, the tag of a child of index %q, is longer than %d bytes", tag, index, maxTag)
	}
	return tag, nil
}

// kindOf gives the last word of a child tag, and whether it says all there is
// to say about artifactType and disktype.
func kindOf(d ocispec.Descriptor) (kind string, plain bool) {
	disk := d.Annotations[annotationDiskType]
	switch disk {
	case spec.DiskTypeNetboot:
		if d.ArtifactType == spec.ArtifactType {
			return kindArtifact, true
		}
		return disk, d.ArtifactType == ""
	case spec.DiskTypeContainer:
		return disk, d.ArtifactType == ""
	case spec.DiskTypeKernel, spec.DiskTypeRamdisk, spec.DiskTypeQcow2, spec.DiskTypeRaw:
		return disk, d.ArtifactType == spec.FileArtifactType
	}
	return "entry", false
}

// kindArtifact marks the child tag of a netboot artifact; its disktype is that
// of the image with the same files.
const kindArtifact = "artifact"
