package spec

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AnnotationBundlePlatforms stands on an entry of a bundle's index.json whose index
// is not there with all that it names: the platforms, with commas, that were asked
// for, sorted. docs/bundles.md describes bundles.
const AnnotationBundlePlatforms = LabelPrefix + "bundle.platforms"

// BundlePlatforms gives the platforms of an index that a bundle holds by the
// annotation of its entry; nil: all. The error is a *Refusal.
func BundlePlatforms(entry ocispec.Descriptor) ([]Platform, error) {
	text, ok := entry.Annotations[AnnotationBundlePlatforms]
	if !ok {
		return nil, nil
	}
	var list []Platform
	for _, s := range strings.Split(text, ",") {
		p, err := ParsePlatform(s)
		if err != nil {
			return nil, Refuse(RulePlatform, AnnotationBundlePlatforms, "%v", err)
		}
		list = append(list, p)
	}
	return list, nil
}
