package spec

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// LabelPrefix starts every label and annotation of the format, Version is the
// value of the version label that this package understands.
const (
	LabelPrefix = "org.pulpproject.netboot."
	Version     = "1"
)

// Labels of the image config. The manifest repeats them as annotations.
const (
	LabelVersion          = LabelPrefix + "version"          // format version, required
	LabelEntrypoint       = LabelPrefix + "entrypoint"       // path of the first program, usually shim
	LabelAltEntrypoint    = LabelPrefix + "altentrypoint"    // path of the alternative, usually grub
	LabelLegacyEntrypoint = LabelPrefix + "legacyentrypoint" // path of the BIOS program, usually pxelinux
	LabelOSName           = LabelPrefix + "os.name"          // e.g. fedora
	LabelOSVersion        = LabelPrefix + "os.version"       // e.g. 42
	LabelOSArch           = LabelPrefix + "os.arch"          // Platform.Arch, e.g. amd64, armv7
)

// Annotations of a layer descriptor.
const (
	// AnnotationUncompressedSize is the length in bytes of the uncompressed
	// tar as a decimal number: a bound for consumers and for space checks.
	AnnotationUncompressedSize = LabelPrefix + "layer.size"
	// AnnotationFileTablePosition is "offset:length:uncompressed-length" of
	// the file table in the blob, see FileTablePosition.
	AnnotationFileTablePosition = LabelPrefix + "filetable.position"
	// AnnotationFileTableDigest is the sha256 digest of these length bytes.
	AnnotationFileTableDigest = LabelPrefix + "filetable.digest"
)

// Annotations of a manifest that tell what its producer compared the files with.
const (
	// AnnotationVerifiedBy names the publishers' lists of checksums, parted by ", ":
	// NAME@sha256:HEX, and " openpgp:FINGERPRINT" of who signed it, if anybody did.
	AnnotationVerifiedBy = LabelPrefix + "verified-by"
	// AnnotationVerifiedFiles is how many files they cover, as in 12/14.
	AnnotationVerifiedFiles = LabelPrefix + "verified-files"
)

// SumsName is the path of the checksum list, at the top of the tree.
const SumsName = "SHA256SUM"

// VersionName is the path of the file that tells where the others come from.
const VersionName = "VERSION"

// EntryLink names the link that lies beside the file that a label names.
type EntryLink struct {
	Label string // LabelEntrypoint, …
	Name  string // file name of the link: BOOT, BOOTA, BOOTL
}

// EntryLinks gives the three entrypoint links in the order in which they end
// the payload.
func EntryLinks() []EntryLink {
	return []EntryLink{
		{LabelEntrypoint, "BOOT"},
		{LabelAltEntrypoint, "BOOTA"},
		{LabelLegacyEntrypoint, "BOOTL"},
	}
}

// LinkFor gives the path of the link with this name for an entrypoint: it lies
// in the directory of the entrypoint, because firmware and shim ask for their
// next file beside the name that they were given.
func LinkFor(entrypoint, name string) string {
	return path.Join(path.Dir(entrypoint), name)
}

// isLinkName tells whether a path ends with the name of an entrypoint link.
func isLinkName(p string) bool {
	return slices.ContainsFunc(EntryLinks(), func(l EntryLink) bool { return l.Name == path.Base(p) })
}

// PathLabels gives the labels that a layout may turn into directory names.
func PathLabels() []string { return []string{LabelOSName, LabelOSVersion, LabelOSArch} }

var pathLabelPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
})

// CheckPathLabel refuses a value of a label that becomes one directory name,
// unless it has 1 to 64 of the characters A-Z a-z 0-9 . _ + -, the first a
// letter or digit, and is no reserved name.
func CheckPathLabel(key, value string) error {
	if !pathLabelPattern().MatchString(value) {
		return Refuse(RuleLabelValue, key, "value %q cannot be a directory name", value)
	}
	if reservedAtTop(value) {
		return Refuse(RuleLabelValue, key, "value %q is a reserved name", value)
	}
	return nil
}

// MergeLabels gives the netboot labels of an image, those of the config joined
// with those of the manifest annotations. Other keys are left out. A key that
// both have with different values is refused.
func MergeLabels(config, annotations map[string]string) (map[string]string, error) {
	if keys := labelConflicts(config, annotations); len(keys) > 0 {
		return nil, labelConflict(keys[0], config, annotations)
	}
	return joinLabels(config, annotations), nil
}

func labelConflict(key string, config, annotations map[string]string) *Refusal {
	return Refuse(RuleLabelsAgree, key, "the config label is %q, the manifest annotation is %q",
		config[key], annotations[key])
}

// labelConflicts gives the sorted netboot keys on which both maps differ.
func labelConflicts(config, annotations map[string]string) []string {
	var keys []string
	for k, v := range config {
		if a, ok := annotations[k]; ok && a != v && strings.HasPrefix(k, LabelPrefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func joinLabels(config, annotations map[string]string) map[string]string {
	labels := make(map[string]string)
	for _, from := range []map[string]string{annotations, config} {
		for k, v := range from {
			if strings.HasPrefix(k, LabelPrefix) {
				labels[k] = v
			}
		}
	}
	return labels
}
