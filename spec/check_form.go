package spec

import (
	"path"
	"slices"
	"strings"
)

// checkForm reports where the image differs from what nbpack writes: warnings
// only, no consumer minds.
func (c *checker) checkForm() {
	if c.form.NamesFiles() {
		c.formOfArtifact()
		return
	}
	c.formOfManifest()
	c.formOfLabels()
	c.formOfSums()
	c.formOfOrder()
	c.formOfEntries()
}

func (c *checker) formOfManifest() {
	m := c.img.Manifest
	if isDocker(c.img.MediaType) || isDocker(m.Config.MediaType) {
		c.report(RuleForeignTypes, "", "the manifest or the config has a media type of docker")
	}
	for i, layer := range m.Layers {
		if isDocker(layer.MediaType) {
			c.report(RuleForeignTypes, "", "layer %d has the media type %q", i+1, layer.MediaType)
		}
		if len(layer.URLs) > 0 {
			c.report(RuleLayerURLs, "", "layer %d has urls", i+1)
		}
		if _, ok := layer.Annotations[AnnotationUncompressedSize]; !ok {
			c.report(RuleSizeUndeclared, "", "layer %d has no annotation %s", i+1, AnnotationUncompressedSize)
		}
	}
}

// knownLabels gives every label that the format defines.
func knownLabels() []string {
	known := append([]string{LabelVersion}, PathLabels()...)
	for _, l := range EntryLinks() {
		known = append(known, l.Label)
	}
	return known
}

func (c *checker) formOfLabels() {
	for _, key := range knownLabels() {
		if _, ok := c.labels[key]; !ok {
			continue
		}
		if _, ok := c.img.Config.Config.Labels[key]; !ok {
			c.report(RuleAnnotations, key, "is a manifest annotation, but not a label of the config")
		}
		if _, ok := c.img.Manifest.Annotations[key]; !ok {
			c.report(RuleAnnotations, key, "is a label of the config, but not a manifest annotation")
		}
	}
	if platform, ok := PlatformOf(&c.img.Config.Platform); ok {
		c.formOfArch(platform)
	}
	c.formOfStages()
}

// formOfArch compares the label os.arch with the platform.
func (c *checker) formOfArch(p Platform) {
	if arch, has := c.labels[LabelOSArch]; has && arch != p.Arch() {
		c.report(RuleOSArch, LabelOSArch, "is %q, the platform is %q", arch, p)
	}
}

// formOfStages reports a second stage where the first does not look for it.
func (c *checker) formOfStages() {
	first, second := c.labels[LabelEntrypoint], c.labels[LabelAltEntrypoint]
	if first != "" && second != "" && path.Dir(first) != path.Dir(second) {
		c.report(RuleSecondStage, LabelAltEntrypoint, "%q does not lie beside %q, where the first stage looks for it", second, first)
	}
}

func (c *checker) formOfSums() {
	at := slices.IndexFunc(c.img.Entries, func(e Entry) bool { return e.Path == SumsName })
	if at < 0 {
		return
	}
	layer := c.img.Entries[at].Layer
	alone := !slices.ContainsFunc(c.img.Entries, func(e Entry) bool { return e.Layer == layer && e.Path != SumsName })
	if layer != 0 || !alone {
		c.report(RuleOrderSums, SumsName, "does not stand alone in the first layer")
	}
	if layers := c.img.Manifest.Layers; layer >= 0 && layer < len(layers) {
		if codec, err := LayerCodec(layers[layer].MediaType); err == nil && codec == CodecZstd {
			c.report(RuleOrderSums, SumsName, "lies in a zstd layer")
		}
	}
	if !slices.IsSortedFunc(c.img.Sums, func(a, b Sum) int { return strings.Compare(a.Path, b.Path) }) {
		c.report(RuleOrderSums, SumsName, "is not sorted by path")
	}
}

// formOfOrder reports entries that stand before their place. Directories may
// come again in each layer, and so only files are compared across layers.
func (c *checker) formOfOrder() {
	rank := c.entryLinkRanks()
	lastLink, linkSeen := 0, false
	var inLayer, file *Entry
	for i := range c.img.Entries {
		e := &c.img.Entries[i]
		if r, ok := rank[e.Path]; ok {
			if r < lastLink {
				c.report(RuleOrderLinks, e.Path, "stands behind a later entrypoint link")
			}
			lastLink, linkSeen = r, true
			continue
		}
		if linkSeen {
			c.report(RuleOrderLinks, e.Path, "stands behind an entrypoint link")
		}
		if inLayer != nil && inLayer.Layer == e.Layer && sortsBefore(e, inLayer) {
			c.report(RuleOrderPayload, e.Path, "stands behind %q", inLayer.Path)
		} else if e.Type == TypeFile && file != nil && file.Layer != e.Layer && sortsBefore(e, file) {
			c.report(RuleOrderPayload, e.Path, "stands in a layer behind that of %q", file.Path)
		}
		inLayer = e
		if e.Type == TypeFile && e.Path != SumsName {
			file = e
		}
	}
}

// sortsBefore compares by path; the same directory twice is another rule, and
// the root directory comes first.
func sortsBefore(a, b *Entry) bool {
	return a.Path != b.Path && b.Path != "." && (a.Path == "." || a.Path < b.Path)
}

// entryLinkRanks gives the paths of the entrypoint links and their order.
func (c *checker) entryLinkRanks() map[string]int {
	ranks := make(map[string]int)
	for i, l := range EntryLinks() {
		entrypoint := c.labels[l.Label]
		if link := LinkFor(entrypoint, l.Name); entrypoint != "" && link != entrypoint {
			ranks[link] = i
		}
	}
	return ranks
}

func (c *checker) formOfEntries() {
	type dirInLayer struct {
		path  string
		layer int
	}
	dirs := make(map[dirInLayer]bool)
	times := false
	for i := range c.img.Entries {
		e := &c.img.Entries[i]
		switch {
		case e.Type == TypeHardlink:
			c.report(RuleHardlink, e.Path, "is a hard link to %q", e.Target)
		case e.Type == TypeFile && e.Mode != 0o444, e.Type == TypeDir && e.Mode != 0o755:
			c.report(RuleMode, e.Path, "has mode %04o", e.Mode)
		}
		if e.Type == TypeDir {
			key := dirInLayer{e.Path, e.Layer}
			if dirs[key] {
				c.report(RuleDirRepeated, e.Path, "stands twice in layer %d", e.Layer+1)
			}
			dirs[key] = true
		}
		if e.UID != 0 || e.GID != 0 {
			c.report(RuleOwner, e.Path, "belongs to %d:%d", e.UID, e.GID)
		}
		if !times && e.ModTime != c.img.Entries[0].ModTime {
			times = true // one report says it all
			c.report(RuleTimes, e.Path, "has another time than the first entry")
		}
	}
}
