package pack

import (
	"fmt"
	"maps"
	"slices"
)

// differences says what is not the same in two images, a line for each, files
// first: what a machine boots matters most.
func differences(was, is *Info) []string {
	var lines []string
	note := func(format string, a ...any) { lines = append(lines, fmt.Sprintf(format, a...)) }
	changes(fileSums(was), fileSums(is), func(name, a, b string) {
		switch {
		case b == "":
			note("file %q is missing", name)
		case a == "":
			note("file %q is new", name)
		default:
			note("file %q has the SHA-256 %s, not %s", name, b, a)
		}
	})
	text := func(what string) func(k, a, b string) {
		return func(k, a, b string) { note("%s %q is %q, not %q", what, k, b, a) }
	}
	changes(was.Labels, is.Labels, text("label"))
	changes(was.Annotations, is.Annotations, text("annotation"))
	changes(map[string]string{"platform": was.Platform, "form": string(was.Form), "created": fmt.Sprint(was.Created)},
		map[string]string{"platform": is.Platform, "form": string(is.Form), "created": fmt.Sprint(is.Created)}, text("field"))
	if len(was.Layers) != len(is.Layers) {
		note("there are %d layers, not %d", len(is.Layers), len(was.Layers))
	}
	for i := range min(len(was.Layers), len(is.Layers)) {
		a, b := was.Layers[i], is.Layers[i]
		switch {
		case a.Digest == b.Digest:
		case a.DiffID != "" && a.DiffID == b.DiffID:
			note("layer %d holds the same, but is compressed to other bytes: another version of nbpack may have done it", i+1)
		case len(lines) == 0:
			note("layer %d differs in something else than the content of files: names of directories, links or times", i+1)
		}
	}
	if len(lines) == 0 {
		note("the manifests differ in something else than files, labels, annotations and layers")
	}
	return lines
}

func fileSums(i *Info) map[string]string {
	sums := map[string]string{}
	for _, f := range i.Files {
		sums[f.Path] = f.SHA256
	}
	return sums
}

// changes tells of each key whose values differ, in order.
func changes(was, is map[string]string, tell func(key, was, is string)) {
	keys := maps.Clone(was)
	if keys == nil {
		keys = map[string]string{}
	}
	maps.Copy(keys, is)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if was[k] != is[k] {
			tell(k, was[k], is[k])
		}
	}
}
