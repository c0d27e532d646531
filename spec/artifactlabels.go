package spec

import (
	"maps"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// entryLabels adds to the netboot labels of a manifest what its index entry says:
// the entry's netboot annotations, of which none may contradict a label. entry
// may be nil. labels stays as it is.
func entryLabels(labels map[string]string, entry *ocispec.Descriptor) (map[string]string, error) {
	all := maps.Clone(labels)
	if all == nil {
		all = make(map[string]string)
	}
	if entry == nil {
		return all, nil
	}
	for _, key := range slices.Sorted(maps.Keys(entry.Annotations)) {
		value := entry.Annotations[key]
		if !strings.HasPrefix(key, LabelPrefix) {
			continue
		}
		if have, ok := all[key]; ok && have != value {
			return nil, Refuse(RuleLabelsAgree, key, "the image says %q, its index entry says %q", have, value)
		}
		all[key] = value
	}
	return all, nil
}

// ArtifactLabels gives the netboot labels of a manifest that names files: its
// annotations and those of its index entry, and what they lack from the entry's
// platform. That has NAME-VERSION as os.version (the last dash parts them; an
// os.version without a dash says neither) and the architecture. What is said more
// than once has to agree. entry may be nil.
func ArtifactLabels(m *ocispec.Manifest, entry *ocispec.Descriptor) (map[string]string, error) {
	labels, err := entryLabels(joinLabels(nil, m.Annotations), entry)
	if err != nil {
		return nil, err
	}
	if entry != nil && entry.Platform != nil {
		if err := addSystem(labels, entry.Platform.OSVersion); err != nil {
			return nil, err
		}
	}
	p, ok, err := ArtifactPlatform(labels, entry)
	if err != nil {
		return nil, err
	}
	if _, has := labels[LabelOSArch]; ok && !has {
		labels[LabelOSArch] = p.Arch()
	}
	return labels, nil
}

// addSystem completes os.name and os.version from NAME-VERSION.
func addSystem(labels map[string]string, osVersion string) error {
	dash := strings.LastIndex(osVersion, "-")
	if dash <= 0 || dash == len(osVersion)-1 {
		return nil
	}
	name, hasName := labels[LabelOSName]
	version, hasVersion := labels[LabelOSVersion]
	rest, begins := strings.CutPrefix(osVersion, name+"-")
	front, ends := strings.CutSuffix(osVersion, "-"+version)
	switch {
	case !hasName && !hasVersion:
		labels[LabelOSName], labels[LabelOSVersion] = osVersion[:dash], osVersion[dash+1:]
	case hasName && !begins, hasVersion && !ends, hasName && hasVersion && rest != version:
		return Refuse(RuleLabelsAgree, LabelOSVersion, "the labels say %q and %q, the platform of the index entry says %q", name, version, osVersion)
	case hasName:
		labels[LabelOSVersion] = rest
	default:
		labels[LabelOSName] = front
	}
	return nil
}

// ArtifactPlatform gives the platform of a manifest without a config, from its
// netboot labels and its index entry (which may be nil): what the entry says, else
// AnnotationIndexPlatform, else LabelOSArch, which means linux. It is false where
// none of them names one, and an error if two of them contradict each other. A
// value of LabelOSArch that is no known architecture says nothing.
func ArtifactPlatform(labels map[string]string, entry *ocispec.Descriptor) (Platform, bool, error) {
	var p Platform
	found := false
	add := func(q Platform, who string) error {
		if found && (p.Architecture != q.Architecture || p.Variant != q.Variant) {
			return Refuse(RulePlatform, "", "the platform is %q, but %s means %q", p, who, q)
		}
		if !found {
			p, found = q, true
		}
		return nil
	}
	if entry != nil {
		if q, ok := PlatformOf(entry.Platform); ok {
			_ = add(q, "the index entry") // the first one contradicts nothing
		}
	}
	if s, ok := labels[AnnotationIndexPlatform]; ok {
		q, err := ParseIndexPlatform(s)
		if err != nil {
			return p, false, Refuse(RulePlatform, AnnotationIndexPlatform, "%q is not a platform", shorten(s))
		}
		if err := add(q, "annotation "+AnnotationIndexPlatform); err != nil {
			return p, false, err
		}
	}
	if arch, variant, ok := knownArch(strings.ToLower(labels[LabelOSArch])); ok {
		q := Platform{OS: "linux", Architecture: arch, Variant: variant}.normalise()
		if err := add(q, "label "+LabelOSArch); err != nil {
			return p, false, err
		}
	}
	return p, found, nil
}
