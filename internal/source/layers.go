package source

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

// The names by which a layer removes what is below it (OCI image specification,
// layer.md, "Whiteouts").
const (
	whiteout       = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// layers takes the files of an image, as a container would see them.
func (i *imageSource) layers(ctx context.Context) error {
	merged := &layerTree{all: map[string]*Entry{}, byName: map[string]Entry{}}
	if len(i.manifest.Layers) > spec.MaxLayers {
		return spec.Refuse(spec.RuleLayerCount, "", "%d layers, %d are permitted", len(i.manifest.Layers), spec.MaxLayers)
	}
	for n, desc := range i.manifest.Layers {
		if err := i.layer(ctx, n, desc, merged); err != nil {
			return err
		}
	}
	entries, err := i.links(merged)
	i.o.entries = entries
	return err
}

// layer reads one layer and lays it over those before.
func (i *imageSource) layer(ctx context.Context, n int, desc ocispec.Descriptor, merged *layerTree) error {
	kind, err := spec.LayerCodec(desc.MediaType)
	if err != nil {
		return fmt.Errorf("layer %d: %w", n, err)
	}
	body, err := i.src.Blob(ctx, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	d, err := newDecoder(layerCodec(kind), body, desc.Size)
	if err != nil {
		return fmt.Errorf("layer %d: %w", n, err)
	}
	defer d.Close()
	c := newCollector(i.s, i.o.name, rule{})
	c.all = merged.all
	over := &overlay{gone: map[string]bool{}, opaque: map[string]bool{}}
	c.special = func(full string, m member, r io.Reader) (bool, error) {
		if i.netboot() {
			return merged.sumsFile(full, m, r)
		}
		return over.whiteout(full), nil
	}
	sum := sha256.New()
	if err := readTar(ctx, c, io.TeeReader(d, sum), nil); err != nil {
		return fmt.Errorf("layer %d: %w", n, err)
	}
	// The blob ends with a refusal if it is not the one that was promised.
	if _, err := io.Copy(io.Discard, body); err != nil {
		return fmt.Errorf("layer %d: %w", n, err)
	}
	if ids := i.config.RootFS.DiffIDs; n < len(ids) && ids[n] != digest.NewDigest(digest.SHA256, sum) {
		return spec.Refuse(spec.RuleDiffID, "", "layer %d has another diff ID than the config says", n)
	}
	merged.lay(over, c.entries)
	i.o.facts = append(i.o.facts, c.facts.list...)
	return nil
}

// layerCodec names the codec of a layer as archives do.
func layerCodec(c spec.Codec) codec {
	switch c {
	case spec.CodecGzip:
		return codecGzip
	case spec.CodecZstd:
		return codecZstd
	}
	return codecNone
}

// overlay is what a layer removes from those below.
type overlay struct{ gone, opaque map[string]bool }

// hides tells whether a name of the layers below is not seen any more.
func (o *overlay) hides(name string) bool {
	for p := name; ; p = path.Dir(p) {
		if o.gone[p] || o.opaque[path.Dir(p)] {
			return true
		}
		if p == "." {
			return false
		}
	}
}

// whiteout notes a name that removes another, and tells whether it was one.
func (o *overlay) whiteout(full string) bool {
	dir, base := path.Split(full)
	switch name, ok := strings.CutPrefix(base, whiteout); {
	case base == whiteoutOpaque:
		o.opaque[path.Clean(dir)] = true
	case ok:
		o.gone[dir+name] = true
	default:
		return false
	}
	return true
}

// layerTree is what the layers so far make together.
type layerTree struct {
	all    map[string]*Entry // files by name, for hard links of later layers
	byName map[string]Entry
	sums   []byte // SHA256SUM of a netboot image
}

// sumsFile keeps the list of checksums, which is no file of the tree.
func (t *layerTree) sumsFile(full string, m member, r io.Reader) (bool, error) {
	if full != spec.SumsName || m.kind != spec.TypeFile || m.odd != "" {
		return false, nil
	}
	if m.size > spec.MaxSumsSize || t.sums != nil {
		return false, spec.Refuse(spec.RuleDocumentSize, full, "is there twice, or has more than %d bytes", spec.MaxSumsSize)
	}
	var err error
	t.sums, err = io.ReadAll(r)
	return true, err
}

// lay puts a layer over the tree.
func (t *layerTree) lay(o *overlay, entries []Entry) {
	if len(o.gone)+len(o.opaque) > 0 {
		t.remove(o.hides)
	}
	for _, e := range entries {
		if old, ok := t.byName[e.Name]; ok && old.Type == spec.TypeDir && e.Type != spec.TypeDir {
			t.remove(func(name string) bool { return strings.HasPrefix(name, e.Name+"/") })
		}
		t.byName[e.Name] = e
	}
}

func (t *layerTree) remove(gone func(string) bool) {
	for name := range t.byName {
		if gone(name) {
			delete(t.byName, name)
			delete(t.all, name)
		}
	}
}

// links proves the files of a netboot image by its own list, and makes links
// again of the entrypoints that a builder copied.
func (i *imageSource) links(t *layerTree) ([]Entry, error) {
	listed := map[string]string{}
	if i.netboot() {
		list, err := spec.ParseSums(t.sums)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			listed[s.Path] = s.SHA256
		}
	}
	var entries []Entry
	for _, e := range t.byName {
		if e.Type == spec.TypeFile && (!i.netboot() || listed[e.Name] == "") {
			if target := i.copied(t, e); target != "" {
				e = Entry{Name: e.Name, Type: spec.TypeSymlink, Target: target, Origin: e.Origin}
			}
		}
		if e.Type == spec.TypeFile && i.netboot() {
			if err := checkListed(&e, listed); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// checkListed compares a file with the list of its image.
func checkListed(e *Entry, listed map[string]string) error {
	switch want := listed[e.Name]; {
	case want == "":
		return spec.Refuse(spec.RuleSumsUnlisted, e.Name, "is not in the list of checksums of the image")
	case want != e.SHA256:
		return spec.Refuse(spec.RuleSumsMismatch, e.Name, "has the SHA-256 %s, the image says %s", e.SHA256, want)
	default:
		return nil
	}
}

// copied gives the file beside an entrypoint copy that has its content, or "".
func (i *imageSource) copied(t *layerTree, e Entry) string {
	dir, base := path.Split(e.Name)
	for _, l := range spec.EntryLinks() {
		if l.Name != base {
			continue
		}
		if named, ok := t.byName[i.labels[l.Label]]; ok && named.SHA256 == e.SHA256 && spec.LinkFor(named.Name, base) == e.Name {
			return path.Base(named.Name)
		}
		best := ""
		for name, other := range t.byName {
			d, b := path.Split(name)
			if d == dir && b != base && !isEntryLink(b) && other.Type == spec.TypeFile && other.SHA256 == e.SHA256 && (best == "" || b < best) {
				best = b
			}
		}
		return best
	}
	return ""
}

func isEntryLink(base string) bool {
	for _, l := range spec.EntryLinks() {
		if l.Name == base {
			return true
		}
	}
	return false
}
