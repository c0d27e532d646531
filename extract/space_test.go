package extract

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestSpace: layers count once, and what is reused does not.
func TestSpace(t *testing.T) {
	known := layerIndex{}
	jobs := []*job{
		{target: &target{manifest: &ocispec.Manifest{Layers: []ocispec.Descriptor{{Digest: "sha256:1"}, {Digest: "sha256:2"}}},
			layers: []layer{sized(10), sized(20)}}},
		{target: &target{manifest: &ocispec.Manifest{Layers: []ocispec.Descriptor{{Digest: "sha256:2"}, {Digest: "sha256:3"}}},
			layers: []layer{sized(20), sized(40)}}},
	}
	if got := spaceFor(jobs, known, nil); got != 70 {
		t.Errorf("%d bytes", got)
	}
	if got := spaceFor(jobs, known, map[*job]int64{jobs[0]: 100, jobs[1]: 15}); got != 25 {
		t.Errorf("%d bytes", got)
	}
	jobs[1].target.layers[1] = sized(1 << 62)
	jobs[0].target.layers[0] = sized(1 << 62)
	if got := spaceFor(jobs, known, nil); got <= 0 {
		t.Errorf("%d bytes", got)
	}
}

type sizedLayer struct {
	layer
	size int64
}

func sized(n int64) layer { return sizedLayer{size: n} }

func (s sizedLayer) space() int64 { return s.size }

func (s sizedLayer) recorded(layerIndex) (knownLayer, bool) { return knownLayer{}, false }
