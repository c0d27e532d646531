package extract

import (
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// layerIndex finds what is recorded of layers: tars by diff ID, since what a
// layer unpacks to does not depend on how it was compressed, and every layer by
// its blob and the way in which that was read. The zero value is empty.
type layerIndex struct {
	tars  map[string]knownLayer
	blobs map[blobKey]knownLayer
	sizes map[string]int64 // bytes of the files that layers hold, by sha256

	lists   []knownLayer     // layers with chunk lists
	chunked map[string]int64 // bytes of the largest file of each path in them
}

// minChunked is the size of a file, in bytes, from which on its chunks are worth
// looking for: less is fetched whole in the time of a few requests.
const minChunked = 4 * requestCost

type knownLayer struct {
	layer *bootdir.Layer
	image *bootdir.Image
}

// blobKey keeps apart what one blob means as a tar, as a file, and as the
// compressed form of a file.
type blobKey struct {
	digest string
	codec  spec.Codec
	tar    bool
}

func tarKey(digest, mediaType string) blobKey {
	codec, _ := spec.LayerCodec(mediaType) // no layer of another type was ever read
	return blobKey{digest, codec, true}
}

func fileKey(digest, mediaType string) blobKey {
	if mediaType == spec.MediaTypeFileZstd {
		return blobKey{digest, spec.CodecZstd, false}
	}
	return blobKey{digest, spec.CodecNone, false}
}

// indexLayers gathers the layers of every generation that a boot directory
// has a record of.
func indexLayers(d *bootdir.Dir) (layerIndex, error) {
	x := newLayerIndex()
	images, err := d.Images()
	if err != nil {
		return x, err
	}
	for _, img := range images {
		for i := range img.Layers {
			x.add(knownLayer{&img.Layers[i], img})
		}
	}
	return x, nil
}

func newLayerIndex() layerIndex {
	return layerIndex{
		tars: map[string]knownLayer{}, blobs: map[blobKey]knownLayer{}, sizes: map[string]int64{},
		chunked: map[string]int64{},
	}
}

func (x *layerIndex) add(k knownLayer) {
	l := k.layer
	if len(l.Chunks) > 0 {
		x.lists = append(x.lists, k)
	}
	switch {
	case l.DiffID != "":
		x.tars[l.DiffID] = k
		x.blobs[tarKey(l.Digest, l.MediaType)] = k
	case len(l.Entries) == 1:
		x.blobs[fileKey(l.Digest, l.MediaType)] = k
	}
	for _, e := range l.Entries {
		if e.Type == spec.TypeFile {
			x.sizes[e.SHA256] = e.Size
		}
		if len(l.Chunks) > 0 && e.Type == spec.TypeFile && e.Size >= minChunked {
			x.chunked[e.Path] = max(x.chunked[e.Path], e.Size)
		}
	}
}

// tar finds a tar by its diff ID, by its blob where that is empty.
func (x layerIndex) tar(d ocispec.Descriptor, diffID string) (knownLayer, bool) {
	if diffID == "" {
		k, ok := x.blobs[tarKey(d.Digest.String(), d.MediaType)]
		return k, ok
	}
	k, ok := x.tars[diffID]
	return k, ok
}

// file finds a layer that was one file.
func (x layerIndex) file(d ocispec.Descriptor) (knownLayer, bool) {
	k, ok := x.blobs[fileKey(d.Digest.String(), d.MediaType)]
	return k, ok
}

// sums returns what the SHA256SUM file in a recorded layer lists, and its sha256.
func (k knownLayer) sums() (list []spec.Sum, sum string, ok bool) {
	for _, e := range k.layer.Entries {
		if e.Path == spec.SumsName && len(k.image.Sums) > 0 {
			return k.image.Sums, e.SHA256, true
		}
	}
	return nil, "", false
}

// holdsPath tells whether there is an entry of this path.
func holdsPath(entries []spec.Entry, p string) bool {
	for _, e := range entries {
		if e.Path == p {
			return true
		}
	}
	return false
}

// sizeOf adds up the sizes, in bytes, of contents that recorded layers hold.
func (x layerIndex) sizeOf(content map[string]string) int64 {
	var total int64
	for _, sum := range content {
		total += x.sizes[sum]
	}
	return total
}
