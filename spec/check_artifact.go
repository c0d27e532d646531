package spec

import (
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// artifactDocuments checks a manifest whose layers are named files.
func (c *checker) artifactDocuments() {
	m := c.img.Manifest
	c.artifactConfig()
	if err := checkDescriptors(append(m.Layers[:len(m.Layers):len(m.Layers)], m.Config), m.Subject); err != nil {
		c.refuse(err)
	}
	if n := len(m.Layers); n == 0 || n > MaxLayers || c.form == FormFile && n != 1 {
		c.report(RuleLayerCount, "", "the manifest has %d layers", n)
	}
	c.files = make(map[int]ArtifactLayer)
	for i, layer := range m.Layers {
		file, ok, err := ParseArtifactLayer(layer)
		if err != nil {
			c.refuse(err)
		} else if ok {
			c.files[i] = file
		}
	}
}

// artifactConfig refuses a config that somebody else could read as that of an
// image. Whoever packs files with podman or ORAS may add one of any type; it is
// not read.
func (c *checker) artifactConfig() {
	config := c.img.Manifest.Config
	own := c.form != FormPodman && c.form != FormTitled
	switch {
	case own && IsConfig(config.MediaType):
		c.report(RuleConfig, "", "the artifact has the config of an image")
	case config.MediaType == ocispec.MediaTypeEmptyJSON && !isEmptyJSON(config) && !isNothing(config):
		c.report(RuleConfig, "", "the config calls itself empty, but has %d bytes and the digest %q", config.Size, config.Digest)
	}
}

// isNothing tells whether a descriptor names no bytes at all, as some programs
// write an empty config.
func isNothing(d ocispec.Descriptor) bool {
	return d.Size == 0 && d.Digest == digest.FromString("")
}

func (c *checker) artifactLabels() {
	var err error
	if c.labels, err = ArtifactLabels(c.img.Manifest, c.img.Entry); err != nil {
		c.refuse(err)
		c.labels = joinLabels(nil, c.img.Manifest.Annotations)
	}
}

// promisedTree checks the tree that the manifest alone promises. What is in a
// directory is not known yet.
func (c *checker) promisedTree() {
	img := *c.img
	img.Entries = nil
	whole := true
	for _, i := range c.fileLayers() {
		f := c.files[i]
		e := Entry{Layer: i, Path: f.Path, Type: TypeFile, SHA256: f.SHA256()}
		if f.Dir {
			e.Type = TypeDir
		}
		whole = whole && e.SHA256 != ""
		img.Entries = append(img.Entries, e)
	}
	c.img = &img
	c.growTree()
	if len(img.Entries) == 0 {
		c.report(RulePayloadEmpty, "", "the artifact has no file")
	}
	if whole {
		c.checkEntrypoints()
	}
}

// fileLayers gives the indexes of the layers that hold something.
func (c *checker) fileLayers() []int {
	var layers []int
	for i := range c.img.Manifest.Layers {
		if _, ok := c.files[i]; ok {
			layers = append(layers, i)
		}
	}
	return layers
}

// checkFiles compares what was in the layers of an artifact with what the
// manifest says of them.
func (c *checker) checkFiles() {
	if !c.form.NamesFiles() {
		return
	}
	count := make(map[int]int)
	for i := range c.img.Entries {
		e := &c.img.Entries[i]
		count[e.Layer]++
		switch f, ok := c.files[e.Layer]; {
		case !ok:
			c.report(RuleTitle, e.Path, "its layer holds no file by the manifest")
		case f.Dir && !f.Holds(e.Path):
			c.report(RulePath, e.Path, "lies outside of the directory %q that its layer is", f.Path)
		case f.Dir:
		case e.Path != f.Path || e.Type != TypeFile:
			c.report(RuleTitle, e.Path, "its layer is the file %q", f.Path)
		case f.SHA256() != "" && e.SHA256 != f.SHA256():
			c.report(RuleDigest, e.Path, "the file has sha256 %q, the manifest says %q", e.SHA256, f.SHA256())
		case f.Size >= 0 && e.Size != f.Size:
			c.report(RuleLayerSize, e.Path, "the file has %d bytes, the manifest says %d", e.Size, f.Size)
		}
	}
	for _, i := range c.fileLayers() {
		if f := c.files[i]; !f.Dir && count[i] != 1 {
			c.report(RuleTitle, f.Path, "the layer of the file was read %d times", count[i])
		}
	}
}

// formOfArtifact reports where an artifact differs from what nbpack writes.
func (c *checker) formOfArtifact() {
	m := c.img.Manifest
	if c.form != FormArtifact && c.form != FormFile {
		c.report(RuleForeignForm, "", "the manifest has the form %q", c.form)
	}
	if isDocker(c.img.MediaType) {
		c.report(RuleForeignTypes, "", "the manifest has a media type of docker")
	}
	before := ""
	for _, i := range c.fileLayers() {
		layer, f := m.Layers[i], c.files[i]
		if len(layer.URLs) > 0 {
			c.report(RuleLayerURLs, f.Path, "the layer has urls")
		}
		if !f.Dir && (layer.Annotations[AnnotationSrcDigest] == "" || layer.Annotations[AnnotationSrcSize] == "") {
			c.report(RuleSrcUndeclared, f.Path, "lacks %s or %s", AnnotationSrcDigest, AnnotationSrcSize)
		}
		if f.Path < before {
			c.report(RuleOrderPayload, f.Path, "stands behind %q", before)
		}
		before = f.Path
	}
	if c.form == FormFile {
		return
	}
	for _, key := range slices.Concat([]string{LabelVersion}, PathLabels()) {
		_, known := c.labels[key]
		if _, own := m.Annotations[key]; !own && (known || key == LabelVersion) {
			c.report(RuleAnnotations, key, "is not a manifest annotation")
		}
	}
	if p, ok, err := ArtifactPlatform(c.labels, c.img.Entry); ok && err == nil {
		c.formOfArch(p)
	}
	c.formOfStages()
}
