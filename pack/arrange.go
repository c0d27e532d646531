package pack

import (
	"context"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// arrange makes the layers and labels.
func (p *Plan) arrange(ctx context.Context) error {
	t, err := newTree(p.nodes, p.options.Rename)
	if err != nil {
		return err
	}
	for _, e := range t {
		e.VerifiedBy = p.vouchers(e)
	}
	if p.Format == FormatFile {
		return p.arrangeFiles(ctx, t)
	}
	if p.options.Flatten {
		if t, err = t.toTop(); err != nil {
			return err
		}
	}
	t.deduceEntrypoints(&p.options, p.Facts)
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
	if p.Format == FormatArtifact {
		if t, err = p.follow(t, links); err != nil {
			return err
		}
	} else {
		t.drop(links) // they are written last
	}
	if err := p.addVersion(t); err != nil {
		return err
	}
	p.label(entrypoints)
	maps.Copy(p.Annotations, p.verifiedLabels(t.sorted()))
	p.remarks(entrypoints)
	if err := p.layer(t, links); err != nil {
		return err
	}
	p.Files, p.Size = countFiles(p.Layers)
	return p.checkBounds()
}

// follow gives the tree without links, and tells the user. Consumers make the
// entrypoint links themselves.
func (p *Plan) follow(t tree, links []Entry) (tree, error) {
	flat, err := t.flatten()
	if err != nil {
		return nil, err
	}
	flat.drop(links)
	t.drop(links)
	flattenRemark(p.options.log, t, flat)
	return flat, nil
}

func (t tree) drop(links []Entry) {
	for _, l := range links {
		delete(t, l.Path)
	}
}

// countFiles gives the number of regular files in layers, and their bytes.
func countFiles(layers []PlanLayer) (files int, size int64) {
	for _, l := range layers {
		for _, e := range l.Entries {
			if e.Type == spec.TypeFile {
				files++
				size += e.Size
			}
		}
	}
	return files, size
}

// checkBounds refuses what no consumer would take.
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
			"the %s would have %d entries with %d bytes of names, %d and %d are permitted",
			p.Format, entries, names, spec.MaxEntries, spec.MaxNamesSize)
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
	if p.Created != nil && p.Format != FormatImage {
		own[ocispec.AnnotationCreated] = p.Created.Format(time.RFC3339) // where there is no config to say it
	}
	switch {
	case p.Format == FormatFile:
		delete(own, spec.LabelVersion) // it marks boot trees
		delete(p.Labels, spec.LabelVersion)
	case p.Format == FormatArtifact || o.IndexTag != "":
		own[spec.AnnotationDiskType] = spec.DiskTypeNetboot
	}
	if o.IndexTag != "" {
		own[spec.AnnotationIndexTag] = o.IndexTag
		own[spec.AnnotationIndexPlatform] = o.indexPlatform().IndexString()
	}
	maps.Copy(own, o.Annotations)
}

// remarks tells the user what the boot tree will lack.
func (p *Plan) remarks(entrypoints map[string]string) {
	o := &p.options
	if len(entrypoints) == 0 {
		o.log("no entrypoint was found by its usual name, and none was given: the %s gets no link to boot from", p.Format)
	}
	if o.OSName == "" || o.OSVersion == "" {
		o.log("the %s gets no os name or version: by custom boot trees are placed by them, so consider --os-name and --os-version", p.Format)
	}
}

// layer distributes the tree over layers.
func (p *Plan) layer(t tree, links []Entry) error {
	switch {
	case p.Format == FormatArtifact:
		p.Layers = t.raw()
	case p.options.PerFileLayers:
		p.Layers = t.perFile(links)
	default:
		var all []Entry
		for _, e := range t.sorted() {
			all = append(all, *e)
		}
		p.Layers = []PlanLayer{{Title: "payload", Entries: append(all, links...)}}
		return nil
	}
	n := len(p.Layers)
	if p.Format == FormatImage {
		n++ // that of SHA256SUM
	}
	if n > spec.MaxLayers {
		return refuse(ruleSourceName, "", "pack an image with a single layer", "a layer for each file makes %d layers, %d are permitted", n, spec.MaxLayers)
	}
	return nil
}

// raw gives each file of a flat tree a layer, which is that file.
func (t tree) raw() []PlanLayer {
	var layers []PlanLayer
	for _, e := range t.sorted() {
		layers = append(layers, PlanLayer{Title: e.Path, MediaType: spec.MediaTypeFile, Entries: []Entry{*e}})
	}
	return layers
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
