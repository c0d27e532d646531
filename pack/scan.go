package pack

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
)

// Scan looks at names, types and sizes of what the sources hold, checks all that
// can be checked without reading files, and plans what to make of them. Of files
// that become artifacts of their own it reads the first bytes. What can only be
// read from front to back, such as a compressed archive, is read once, and what
// is packed of it is kept until the plan is closed. Nothing else is written.
//
// Errors tell their exit code: 2 for options that make no sense, 3 for sources
// that cannot become a netboot image, 4 for a source that does not exist.
func Scan(ctx context.Context, o Options) (*Plan, error) {
	f, err := checkOptions(&o)
	if err != nil {
		return nil, err
	}
	v, err := readChecksums(ctx, &o)
	if err != nil {
		return nil, err
	}
	set, err := openSources(ctx, &o, f, v)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(ctx, o, f, set, v)
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return p, nil
}

// newPlan plans what to make of the sources.
func newPlan(ctx context.Context, o Options, f *filter, set *source.Set, v *verification) (*Plan, error) {
	nodes := set.Entries()
	if err := checkFound(nodes, f); err != nil {
		return nil, err
	}
	if err := v.check(&o, set, f); err != nil {
		return nil, err
	}
	if err := deduce(ctx, &o, set); err != nil {
		return nil, err
	}
	p := &Plan{
		Format: o.Format, Platform: o.Platform.String(), Compression: o.Compression, Created: o.ModTime,
		OSName: o.OSName, OSVersion: o.OSVersion, Facts: set.Facts(), Notes: set.Notes(),
		options: o, set: set, nodes: nodes, verify: v,
		origins: set.Origins(), packed: map[*source.Entry]packedFile{},
	}
	return p, p.arrange(ctx)
}

// checkOptions completes the options and refuses those that make no sense.
func checkOptions(o *Options) (*filter, error) {
	if len(o.Sources) == 0 {
		return nil, badOption("", "there is nothing to pack: no source is given")
	}
	if err := checkFormat(o); err != nil {
		return nil, err
	}
	if o.ModTime != nil {
		t := o.ModTime.UTC()
		o.ModTime = &t
	}
	for label, value := range map[string]string{spec.LabelOSName: o.OSName, spec.LabelOSVersion: o.OSVersion} {
		if value == "" {
			continue
		}
		if err := spec.CheckPathLabel(label, value); err != nil {
			return nil, badOption("it becomes the name of a directory on boot servers", "%v", err)
		}
	}
	if err := checkKeys(o); err != nil {
		return nil, err
	}
	return newFilter(o.Include, o.Exclude)
}

// checkKeys refuses labels and annotations that the format has itself.
func checkKeys(o *Options) error {
	for _, m := range []map[string]string{o.Labels, o.Annotations} {
		for _, k := range sortedKeys(m) {
			if k == "" || strings.HasPrefix(k, spec.LabelPrefix) {
				return badOption("use --os-name, --os-version and the --…entrypoint flags", "%q is a label of the format, which is written by itself", k)
			}
		}
	}
	if _, ok := o.Annotations[spec.AnnotationDiskType]; ok {
		return badOption("for single files there is --disktype", "%q is an annotation of the format, which is written by itself", spec.AnnotationDiskType)
	}
	return nil
}

// checkFound refuses sources without a file, and globs that find nothing.
func checkFound(nodes []source.Entry, f *filter) error {
	names := make([]string, 0, len(nodes))
	files := 0
	for _, n := range nodes {
		names = append(names, n.Name)
		if n.Type == spec.TypeFile {
			files++
		}
	}
	if g := f.unused(names); g != "" {
		return badOption("", "--include: nothing matches %q", g)
	}
	if files == 0 {
		return refuse(ruleSourceEmpty, "", "check the sources, --include and --exclude", "the sources hold no file to pack")
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
