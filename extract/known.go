package extract

import (
	"sort"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// layerIndex finds recorded layers by diff ID: what a layer unpacks to does
// not depend on how it was compressed.
type layerIndex map[string]knownLayer

type knownLayer struct {
	layer *bootdir.Layer
	image *bootdir.Image
}

// indexLayers gathers the layers of every generation that a boot directory
// has a record of.
func indexLayers(d *bootdir.Dir) (layerIndex, error) {
	images, err := d.Images()
	if err != nil {
		return nil, err
	}
	index := layerIndex{}
	for _, img := range images {
		for i := range img.Layers {
			index[img.Layers[i].DiffID] = knownLayer{&img.Layers[i], img}
		}
	}
	return index, nil
}

// sumsOf returns what the SHA256SUM file in a recorded layer lists. The image
// was accepted because the list equals its regular files, so they are the list.
func (x layerIndex) sumsOf(diffID string) ([]spec.Sum, bool) {
	known, ok := x[diffID]
	if !ok {
		return nil, false
	}
	holdsSums := false
	for _, e := range known.layer.Entries {
		holdsSums = holdsSums || e.Path == spec.SumsName
	}
	if !holdsSums {
		return nil, false
	}
	var sums []spec.Sum
	for _, e := range known.image.Entries {
		if e.Type == spec.TypeFile && e.Path != spec.SumsName {
			sums = append(sums, spec.Sum{Path: e.Path, SHA256: e.SHA256})
		}
	}
	sort.Slice(sums, func(i, j int) bool { return sums[i].Path < sums[j].Path })
	return sums, true
}

// sizeOf adds up the sizes, in bytes, of contents that recorded layers hold.
func (x layerIndex) sizeOf(content map[string]string) int64 {
	size := map[string]int64{}
	for _, known := range x {
		for _, e := range known.layer.Entries {
			if e.Type == spec.TypeFile {
				size[e.SHA256] = e.Size
			}
		}
	}
	var total int64
	for _, sum := range content {
		total += size[sum]
	}
	return total
}
