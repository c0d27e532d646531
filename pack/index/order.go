package index

import (
	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// rank is the place of an entry among others. podman, skopeo and crane take the
// first entry of their platform, whatever its artifactType is, so what they can
// start has to stand before what they cannot.
type rank int

const (
	rankContainer rank = iota // what runtimes start, as far as an entry tells
	rankImage                 // netboot images: file systems, but nothing to start
	rankArtifact              // everything else
)

func rankOf(d ocispec.Descriptor) rank {
	disk := d.Annotations[annotationDiskType]
	switch {
	case d.ArtifactType != "":
		return rankArtifact
	case d.Annotations[spec.LabelVersion] != "" || disk == spec.DiskTypeNetboot:
		return rankImage
	case disk == "" || disk == spec.DiskTypeContainer:
		return rankContainer
	}
	return rankArtifact
}

// place gives the position for a new entry: a container before the first entry
// that is none; the others behind the last container, and there before the
// first entry of a later rank.
func place(doc *ociindex.Document, r rank) int {
	ranks := make([]rank, doc.Len())
	from := 0
	for i := range ranks {
		d, _ := doc.Entry(i)
		if ranks[i] = rankOf(d); ranks[i] == rankContainer && r != rankContainer {
			from = i + 1
		}
	}
	for i := from; i < len(ranks); i++ {
		if ranks[i] > r {
			return i
		}
	}
	return len(ranks)
}

// behind gives the position of the last container behind entry i that a
// runtime could want when it sees entry i, or -1. The variant does not count:
// runtimes try several.
func behind(doc *ociindex.Document, i int) int {
	d, _ := doc.Entry(i)
	own, ok := spec.PlatformOf(d.Platform)
	if !ok || rankOf(d) == rankContainer {
		return -1
	}
	last := -1
	for j := i + 1; j < doc.Len(); j++ {
		other, _ := doc.Entry(j)
		p, ok := spec.PlatformOf(other.Platform)
		if ok && rankOf(other) == rankContainer && p.OS == own.OS && p.Architecture == own.Architecture {
			last = j
		}
	}
	return last
}
