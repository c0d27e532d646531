package testimage

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	emptyType    = "application/vnd.oci.empty.v1+json"
	artifactType = "application/vnd.org.pulpproject.netboot.artifact.v1"
	unknownType  = "application/vnd.unknown.artifact.v1"
	fileType     = "application/x-netboot-file"

	titleKey  = "org.opencontainers.image.title"
	unpackKey = "io.deis.oras.content.unpack"
	tarKey    = "io.deis.oras.content.digest"
	srcDigest = LabelPrefix + "src.digest"
	srcSize   = LabelPrefix + "src.size"
)

// Artifact is a manifest whose layers are named files. The zero value is a good
// netboot artifact: the files of goodTree, one raw layer each, and the good
// labels as annotations. Everything in it changes that artifact in one way.
type Artifact struct {
	Form    string      // "artifact" (default), "nboci", "titled"
	First   []NamedFile // more layers before those of the good tree
	Files   []NamedFile // more layers behind them
	Without []string    // names of good files that are left out
	Empty   bool        // none of the good files

	// Change has, by the title of a good file, edits of its descriptor.
	Change map[string][]Edit

	Annotations map[string]*string // of the manifest; null takes one away
	Bare        bool               // no annotation at all, but those given
	Config      Doc                // edits of "{}"
	Manifest    Doc
}

// NamedFile is a layer with a title.
type NamedFile struct {
	Title  string
	Data   Data    // the file
	Pack   []Entry // instead of it a directory, as ORAS packs it
	Layer          // codec, media type, edits
	Times  int     // so many layers; {n} in the title counts
	Plain  bool    // no annotations about the file before compression
	Untold bool    // a directory without the digest of its tar
}

// goodFiles are the regular files of goodTree as layers.
func (a *Artifact) files(v Vars) []NamedFile {
	all := slices.Clone(a.First)
	for _, e := range goodTree(v["generation"]) {
		name := e.Name.String(v)
		if a.Empty || !e.regular() || slices.Contains(a.Without, name) {
			continue
		}
		all = append(all, NamedFile{Title: name, Data: e.Data, Layer: Layer{Edit: a.Change[name]}})
	}
	all = append(all, a.Files...)
	var many []NamedFile
	for _, f := range all {
		for i := range max(1, f.Times) {
			one := f
			one.Title = segment{text: v.expand(f.Title)}.line(int64(i))
			many = append(many, one)
		}
	}
	return many
}

func (a *Artifact) annotations(v Vars) map[string]string {
	all := map[string]string{}
	if !a.Bare {
		all = goodLabels()
	}
	if a.Form == "nboci" || a.Form == "titled" {
		delete(all, LabelPrefix+"version")
	}
	patch(all, a.Annotations, v)
	return all
}

func (b *builder) artifact(a *Artifact) (json.RawMessage, error) {
	descs := []json.RawMessage{}
	for i, f := range a.files(b.vars) {
		desc, digest, err := b.namedFile(a.Form, f)
		if err != nil {
			return nil, fmt.Errorf("file %q: %w", f.Title, err)
		}
		b.vars["layer"+strconv.Itoa(i)] = digest
		descs = append(descs, desc)
	}
	config, err := b.put("config", emptyType, []byte("{}"), a.Config, nil)
	if err != nil {
		return nil, err
	}
	kind := unknownType
	if a.Form == "" || a.Form == "artifact" {
		kind = artifactType
	}
	manifest, err := marshal(map[string]any{
		"schemaVersion": 2, "mediaType": ociManifest, "artifactType": kind,
		"config": config, "layers": descs, "annotations": a.annotations(b.vars),
	})
	if err != nil {
		return nil, err
	}
	return b.put("manifest", ociManifest, manifest, a.Manifest, nil)
}

// namedFile writes one layer in the manner of a form.
func (b *builder) namedFile(form string, f NamedFile) (desc json.RawMessage, digest string, err error) {
	l := f.Layer
	edits := l.Edit
	l.Edit = nil
	annotations := map[string]string{titleKey: f.Title}
	switch {
	case f.Pack == nil && f.Data == nil:
		return nil, "", fmt.Errorf("neither data nor pack")
	case f.Pack != nil:
		l.Entries = f.Pack
		annotations[unpackKey] = "true"
	case form == "nboci" && l.MediaType == "":
		l.Raw, l.Codec, l.MediaType = f.Data, "zstd", fileType+"+zstd"
	case form == "titled" && l.MediaType == "":
		l.Raw, l.Codec, l.MediaType = f.Data, "none", "application/octet-stream"
	case l.MediaType == "":
		l.Raw, l.Codec, l.MediaType = f.Data, "none", fileType
	case l.Codec == "":
		l.Raw, l.Codec = f.Data, "none"
	default:
		l.Raw = f.Data
	}
	desc, digest, inner, err := b.writeLayer(l, false)
	if err != nil {
		return nil, "", err
	}
	switch {
	case f.Pack != nil && !f.Untold:
		annotations[tarKey] = "sha256:" + inner
	case f.Pack == nil && !f.Plain && form != "titled":
		annotations[srcDigest], annotations[srcSize] = "sha256:"+inner, strconv.FormatInt(f.Data.Size(b.vars), 10)
	}
	body, err := marshal(annotations)
	if err != nil {
		return nil, "", err
	}
	at := "/annotations"
	if desc, err = applyEdits(desc, []Edit{{At: &at, Set: body}}, b.vars); err != nil {
		return nil, "", err
	}
	desc, err = applyEdits(desc, edits, b.vars)
	return desc, digest, err
}

// tree is what an honest artifact becomes: its files, and the links that its
// labels ask for.
func (a *Artifact) tree(v Vars) (Tree, error) {
	t := Tree{}
	for _, f := range a.files(v) {
		entries := f.Pack
		if entries == nil {
			entries = []Entry{{Name: Text(f.Title), Data: f.Data}}
		}
		for _, e := range entries {
			for _, one := range e.expand(v) {
				if err := t.add(one, v); err != nil {
					return nil, err
				}
			}
		}
	}
	labels := a.annotations(v)
	for label, name := range map[string]string{"entrypoint": "BOOT", "altentrypoint": "BOOTA", "legacyentrypoint": "BOOTL"} {
		if target := labels[LabelPrefix+label]; target != "" {
			t[strings.TrimPrefix(path.Dir(target)+"/", "./")+name] = "-> " + path.Base(target)
		}
	}
	return t, nil
}
