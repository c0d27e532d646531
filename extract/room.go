package extract

import (
	"context"
	"fmt"
	"math"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// room asks for space before the payload is fetched: for what the layers that
// must be read declare to unpack to (for those that do not declare it, the size
// of the blob is the least), without what the stage took from the disk, and for
// an inode for every new file, and for every name of a tree and its generation.
func (p *puller) room(in *intake, want []spec.Entry) error {
	var bytes int64
	for i, l := range in.target.layers {
		if _, ok := in.replayable(i); ok || in.entries[i] != nil {
			continue
		}
		size := l.space()
		if b := in.prints[i]; b != nil {
			size = b.split.Size()
		}
		if bytes += size; bytes < 0 {
			bytes = math.MaxInt64 // what is declared may be anything
		}
	}
	bytes += in.beginnings()
	bytes -= in.known.sizeOf(in.reused)
	inodes := int64(len(want) - len(in.staged))
	for _, e := range want {
		if e.Type != spec.TypeFile {
			inodes++
		}
	}
	return p.dir.Space(max(bytes, 0), inodes)
}

// readForSums reads a layer that may hold SHA256SUM beside the payload, if there is
// room for it. The list, which tells what of it the disk has, is not known before: so
// no more is asked for than if that was all that is recorded.
func (in *intake) readForSums(ctx context.Context, layer int) error {
	if in.dir == nil {
		return in.readWhole(ctx, layer)
	}
	size, err := in.unpacked(ctx, layer)
	if err != nil {
		return err
	}
	for _, have := range in.known.sizes {
		size -= have
	}
	if err := in.dir.Space(max(size, 0), 1); err != nil {
		return err
	}
	return in.readWhole(ctx, layer)
}

// unpacked is how many bytes a layer takes on the disk. If it is large and does not
// declare that, its tables are asked.
func (in *intake) unpacked(ctx context.Context, layer int) (int64, error) {
	l := in.target.layers[layer]
	size := l.space()
	t, ok := l.(*tarLayer)
	if !ok || t.desc.Size < peekMin {
		return size, nil
	}
	_, declared, err := spec.LayerBound(t.desc)
	tables, terr := archive.LayerTables(t.desc)
	if err != nil || declared || terr != nil || !tables.TarSplit.Present() {
		return size, nil
	}
	b, err := in.draw(ctx, t)
	if err != nil && !whole(err) {
		return 0, fmt.Errorf("%s: read its tables: %w", layerName(t.desc), err)
	}
	if err == nil && b != nil {
		size = b.split.Size()
	}
	return size, nil
}
