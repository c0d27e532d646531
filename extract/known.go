package extract

import (
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

// sumsOf returns what the SHA256SUM file in a recorded layer lists.
func (x layerIndex) sumsOf(diffID string) ([]spec.Sum, bool) {
	known, ok := x[diffID]
	if !ok || !known.holds(spec.SumsName) || len(known.image.Sums) == 0 {
		return nil, false
	}
	return known.image.Sums, true
}

// holds tells whether the layer has an entry of this path.
func (k knownLayer) holds(p string) bool {
	for _, e := range k.layer.Entries {
		if e.Path == p {
			return true
		}
	}
	return false
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
