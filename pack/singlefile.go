package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// arrangeFiles plans an artifact for each source file. Its first bytes are read
// here, because what it is decides under which name it is published.
func (p *Plan) arrangeFiles(ctx context.Context, t tree) error {
	for _, old := range sortedKeys(p.options.Rename) {
		if name := p.options.Rename[old]; strings.Contains(name, "/") {
			return badOption("give it a name without directories", "--rename %s=%s: a single file lies in no directory", old, name)
		}
	}
	for i := range p.nodes {
		if n := &p.nodes[i]; !n.Whole {
			return errNotFile(n.Source)
		}
	}
	for _, e := range p.asGiven(t) {
		l, err := p.singleFile(ctx, e)
		if err != nil {
			return err
		}
		p.Layers = append(p.Layers, l)
	}
	p.Files, p.Size = countFiles(p.Layers)
	p.label(nil)
	if err := p.checkNames(); err != nil {
		return err
	}
	for _, l := range p.Layers {
		if l.DiskType == "" {
			p.options.log("neither the name nor the content of %q tells what it is: who finds it by a tag may take it for a disk image, so consider --disktype", l.Title)
		}
	}
	return nil
}

// asGiven gives the files in the order of their sources: who names several reads
// their URLs line by line.
func (p *Plan) asGiven(t tree) []*Entry {
	files := t.sorted()
	slices.SortStableFunc(files, func(a, b *Entry) int {
		return cmp.Compare(slices.Index(p.options.Sources, a.node.Source), slices.Index(p.options.Sources, b.node.Source))
	})
	return files
}

func errNotFile(source string) error {
	return badOption("name the files, or use --format image or artifact for a boot tree",
		"with --format file each source is a file, and %q is none", source)
}

// singleFile plans the one layer of an artifact.
func (p *Plan) singleFile(ctx context.Context, e *Entry) (PlanLayer, error) {
	begin, err := begin(ctx, e)
	if err != nil {
		return PlanLayer{}, err
	}
	what, err := identify(e.Path, begin, p.options.DiskType)
	if err != nil {
		return PlanLayer{}, err
	}
	return PlanLayer{Title: e.Path, DiskType: what.diskType, MediaType: what.mediaType, Entries: []Entry{*e}}, nil
}

// begin gives the first bytes of a file, as many as identify wants.
func begin(ctx context.Context, e *Entry) ([]byte, error) {
	f, err := e.node.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, identifyLen)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("reading %q: %w", e.Source, err)
	}
	return b[:n], nil
}

// checkNames refuses files that could not be published beside each other.
func (p *Plan) checkNames() error {
	if p.options.IndexTag == "" {
		if len(p.Layers) > 1 {
			return badOption("--index gives each of them a tag of its own; or build them one by one",
				"%d files cannot be published under one tag", len(p.Layers))
		}
		return nil
	}
	seen := map[string]string{}
	for _, l := range p.Layers {
		if l.DiskType == "" {
			return badOption("say it with --disktype qcow2, raw, kernel or ramdisk",
				"neither the name nor the content of %q tells what it is, as its entry in an index has to", l.Title)
		}
		if other, ok := seen[l.DiskType]; ok {
			return badOption("an index holds one of each kind for a platform and a version; say what they are with --disktype, one by one",
				"%q and %q are both of disktype %s", other, l.Title, l.DiskType)
		}
		seen[l.DiskType] = l.Title
	}
	return nil
}

// singleFiles gives the manifests of FormatFile.
func (p *Plan) singleFiles() []planned {
	var all []planned
	for _, l := range p.Layers {
		one := planned{
			artifactType: spec.FileArtifactType, title: l.Title,
			annotations: maps.Clone(p.Annotations), layers: []PlanLayer{l},
		}
		maps.Copy(one.annotations, p.verifiedLabels([]*Entry{&l.Entries[0]}))
		if l.DiskType != "" {
			one.annotations[spec.AnnotationDiskType] = l.DiskType
		}
		all = append(all, one)
	}
	return all
}
