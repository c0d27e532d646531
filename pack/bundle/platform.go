package bundle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pick gives the entries of an index that are for the wanted platforms, and all
// indexes; every entry if no platform is named.
func pick(entries []ocispec.Descriptor, want []spec.Platform) []ocispec.Descriptor {
	if len(want) == 0 {
		return entries
	}
	var out []ocispec.Descriptor
	for _, e := range entries {
		have, _ := spec.PlatformOf(e.Platform)
		if spec.IsIndex(e.MediaType) || slices.ContainsFunc(want, func(w spec.Platform) bool { return w.Matches(have) }) {
			out = append(out, e)
		}
	}
	return out
}

// platformNames are the values of spec.AnnotationBundlePlatforms, sorted, each once.
func platformNames(list []spec.Platform) []string {
	var names []string
	for _, p := range list {
		names = append(names, p.String())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// setPlatforms writes what [spec.BundlePlatforms] reads.
func setPlatforms(d *ocispec.Descriptor, list []spec.Platform) {
	if len(list) > 0 {
		d.Annotations[spec.AnnotationBundlePlatforms] = strings.Join(platformNames(list), ",")
	}
}

// offered lists the platforms of an index for a message.
func offered(entries []ocispec.Descriptor) []string {
	var list []string
	for _, e := range entries {
		if p, ok := spec.PlatformOf(e.Platform); ok {
			list = append(list, p.String())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// entryName is the name of an entry of index.json, "" if it has none.
func entryName(d ocispec.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

// plural says how many there are of something.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
