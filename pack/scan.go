package pack

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// Scan looks at names, types and sizes of what the sources hold, checks all that
// can be checked without reading files, and plans the image. It writes nothing.
//
// Errors tell their exit code: 2 for options that make no sense, 3 for sources
// that cannot become a netboot image, 4 for a source that does not exist.
func Scan(ctx context.Context, o Options) (*Plan, error) {
	f, err := checkOptions(&o)
	if err != nil {
		return nil, err
	}
	sums, err := readChecksums(o.Checksums)
	if err != nil {
		return nil, err
	}
	nodes, err := scanSources(ctx, &o, f)
	if err != nil {
		return nil, err
	}
	if err := checkFound(nodes, sums, f); err != nil {
		return nil, err
	}
	p := &Plan{Platform: o.Platform.String(), Compression: o.Compression, Created: o.ModTime, options: o, nodes: nodes, sums: sums}
	return p, p.arrange()
}

// checkOptions completes the options and refuses those that make no sense.
func checkOptions(o *Options) (*filter, error) {
	if o.Platform == (spec.Platform{}) {
		return nil, badOption("give it as in --platform linux/amd64", "the platform is not set")
	}
	if len(o.Sources) == 0 {
		return nil, badOption("", "there is nothing to pack: no source is given")
	}
	if o.Compression == "" {
		o.Compression = archive.ZstdChunked
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
	for _, m := range []map[string]string{o.Labels, o.Annotations} {
		for _, k := range sortedKeys(m) {
			if k == "" || strings.HasPrefix(k, spec.LabelPrefix) {
				return nil, badOption("use --os-name, --os-version and the --…entrypoint flags", "%q is a label of the format, which is written by itself", k)
			}
		}
	}
	return newFilter(o.Include, o.Exclude)
}

// checkFound refuses sources without a file, globs that find nothing, and
// checksums that do not fit.
func checkFound(nodes []node, sums map[string]string, f *filter) error {
	names := make([]string, 0, len(nodes))
	files := 0
	for _, n := range nodes {
		names = append(names, n.name)
		if n.kind == spec.TypeFile {
			files++
		}
	}
	if g := f.unused(names); g != "" {
		return badOption("", "--include: nothing matches %q", g)
	}
	if files == 0 {
		return refuse(ruleSourceEmpty, "", "check the sources, --include and --exclude", "the sources hold no file to pack")
	}
	return checkListed(sums, nodes, f)
}

// arrange makes the layers and labels.
func (p *Plan) arrange() error {
	t, err := newTree(p.nodes, p.options.Rename)
	if err != nil {
		return err
	}
	entrypoints, err := t.entrypoints(&p.options)
	if err != nil {
		return err
	}
	links, err := t.addEntryLinks(entrypoints)
	if err != nil {
		return err
	}
	if err := t.checkLinks(); err != nil {
		return err
	}
	for _, l := range links {
		delete(t, l.Path) // they are written last
	}
	for _, e := range t {
		if e.Type == spec.TypeFile {
			p.Files++
			p.Size += e.Size
		}
	}
	p.label(entrypoints)
	if err := p.layer(t, links); err != nil {
		return err
	}
	return p.checkBounds()
}

// checkBounds refuses what would make an image that no consumer takes.
func (p *Plan) checkBounds() error {
	entries, names := 1, len(spec.SumsName)
	for _, l := range p.Layers {
		for _, e := range l.Entries {
			entries++
			names += len(e.Path) + len("/") + len(e.Target)
		}
	}
	if entries > spec.MaxEntries || names > spec.MaxNamesSize {
		return refuse(spec.RuleEntryCount, "", "leave files out with --exclude",
			"the image would have %d entries with %d bytes of names, %d and %d are permitted",
			entries, names, spec.MaxEntries, spec.MaxNamesSize)
	}
	return nil
}

// label sets labels and annotations.
func (p *Plan) label(entrypoints map[string]string) {
	o := &p.options
	own := map[string]string{
		spec.LabelVersion:   spec.Version,
		spec.LabelOSName:    o.OSName,
		spec.LabelOSVersion: o.OSVersion,
		spec.LabelOSArch:    o.Platform.Arch(),
	}
	maps.Copy(own, entrypoints)
	maps.DeleteFunc(own, func(_, v string) bool { return v == "" })
	p.Labels, p.Annotations = maps.Clone(own), own
	maps.Copy(p.Labels, o.Labels)
	maps.Copy(p.Annotations, o.Annotations)
	if len(entrypoints) == 0 {
		o.log("no entrypoint was found by its usual name, and none was given: the image gets no link to boot from")
	}
	if o.OSName == "" || o.OSVersion == "" {
		o.log("the image gets no os name or version: by custom boot trees are placed by them, so consider --os-name and --os-version")
	}
}

// layer distributes the tree over layers.
func (p *Plan) layer(t tree, links []Entry) error {
	if !p.options.PerFileLayers {
		var all []Entry
		for _, e := range t.sorted() {
			all = append(all, *e)
		}
		p.Layers = []PlanLayer{{Title: "payload", Entries: append(all, links...)}}
		return nil
	}
	p.Layers = t.perFile(links)
	if n := len(p.Layers) + 1; n > spec.MaxLayers {
		return refuse(ruleSourceName, "", "pack a single layer", "a layer for each file makes %d layers, %d are permitted", n, spec.MaxLayers)
	}
	return nil
}

// perFile gives each file a layer, together with the directories above it, so
// that each layer can be unpacked by itself. What is left, empty directories and
// links, makes the last one.
func (t tree) perFile(links []Entry) []PlanLayer {
	var layers []PlanLayer
	done := map[string]bool{}
	for _, e := range t.sorted() {
		if e.Type != spec.TypeFile {
			continue
		}
		l := PlanLayer{Title: e.Path}
		for _, dir := range parents(e.Path) {
			l.Entries = append(l.Entries, *t[dir])
			done[dir] = true
		}
		l.Entries = append(l.Entries, *e)
		layers = append(layers, l)
	}
	last := PlanLayer{Title: "links"}
	for _, e := range t.sorted() {
		if e.Type == spec.TypeDir && !done[e.Path] || e.Type == spec.TypeSymlink {
			last.Entries = append(last.Entries, *e)
		}
	}
	if last.Entries = append(last.Entries, links...); len(last.Entries) > 0 {
		layers = append(layers, last)
	}
	return layers
}

// parents gives the directories above a path, the topmost first.
func parents(p string) []string {
	var dirs []string
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
