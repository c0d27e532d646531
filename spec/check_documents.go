package spec

// documents checks the manifest, and the config that an image has.
func (c *checker) documents() {
	if !IsManifest(c.img.MediaType) {
		c.report(RuleMediaType, "", "media type %q is not that of an image manifest", c.img.MediaType)
	}
	if c.form.NamesFiles() {
		c.artifactDocuments()
	} else {
		c.imageDocuments()
	}
}

// imageDocuments checks manifest and config against each other.
func (c *checker) imageDocuments() {
	m, config := c.img.Manifest, c.img.Config
	if !IsConfig(m.Config.MediaType) {
		c.report(RuleMediaType, "", "config media type %q is not that of an image config", m.Config.MediaType)
	}
	if err := checkDescriptors(append(m.Layers[:len(m.Layers):len(m.Layers)], m.Config), m.Subject); err != nil {
		c.refuse(err)
	}
	if _, ok := PlatformOf(&config.Platform); !ok {
		c.report(RulePlatform, "", "the config says os %q and architecture %q", config.OS, config.Architecture)
	}
	if n := len(m.Layers); n == 0 || n > MaxLayers {
		c.report(RuleLayerCount, "", "the manifest has %d layers", n)
	}
	for i, layer := range m.Layers {
		if _, err := LayerCodec(layer.MediaType); err != nil {
			c.report(RuleLayerType, "", "layer %d: media type %q is not a tar layer", i+1, layer.MediaType)
		}
		if _, _, err := LayerBound(layer); err != nil {
			c.refuse(err)
		}
	}
	c.checkDiffIDs()
}

func (c *checker) checkDiffIDs() {
	layers, ids := c.img.Manifest.Layers, c.img.Config.RootFS.DiffIDs
	if len(layers) != len(ids) {
		c.report(RuleDiffID, "", "the manifest has %d layers, the config %d diff IDs", len(layers), len(ids))
	}
	if c.img.DiffIDs == nil {
		return
	}
	if len(c.img.DiffIDs) != len(layers) {
		c.report(RuleDiffID, "", "%d of %d layers were measured", len(c.img.DiffIDs), len(layers))
	}
	for i := range min(len(ids), len(c.img.DiffIDs)) {
		if ids[i] != c.img.DiffIDs[i] {
			c.report(RuleDiffID, "", "layer %d has the diff ID %s, the config says %q", i+1, c.img.DiffIDs[i], ids[i])
		}
	}
}

// checkLabels checks the labels that stand for themselves; those that name
// files come later, with the tree.
func (c *checker) checkLabels() {
	if c.form.NamesFiles() {
		c.artifactLabels()
	} else {
		c.imageLabels()
	}
	switch version, ok := c.labels[LabelVersion]; {
	case !ok && c.form == FormImage: // the others are known by their types and titles
		c.report(RuleVersion, LabelVersion, "the label is missing")
	case ok && version != Version:
		c.report(RuleVersion, LabelVersion, "the version is %q, not %q", version, Version)
	}
	for _, key := range PathLabels() {
		if value, ok := c.labels[key]; ok {
			if err := CheckPathLabel(key, value); err != nil {
				c.refuse(err)
			}
		}
	}
}

func (c *checker) imageLabels() {
	config, annotations := c.img.Config.Config.Labels, c.img.Manifest.Annotations
	for _, key := range labelConflicts(config, annotations) {
		c.refuse(labelConflict(key, config, annotations))
	}
	c.labels = joinLabels(config, annotations)
}
