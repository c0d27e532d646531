package extract

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// room asks for space before the payload is fetched: for what the layers that
// must be read declare to unpack to (for those that do not declare it, the size
// of the blob is the least), without what the stage took from the disk, and for
// an inode for every new file, and for every name of a tree and its generation.
func (p *Placement) room(in *intake, want []spec.Entry) error {
	var bytes int64
	for i, l := range in.layers {
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
	l := in.layers[layer]
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

// Room asks for space for all that placements bring, before the first byte of it is fetched:
// a disk that is full half way would leave some trees old. Layers count once, and not what
// the disk holds of them. The error is ENOSPC where there is too little; what cannot be known
// yet is no error, because a placement's own turn will tell.
func (s *Session) Room(ctx context.Context, placements []*Placement) error {
	var jobs []*job
	for _, p := range placements {
		jobs = append(jobs, p.incoming()...)
	}
	if len(jobs) == 0 {
		return nil
	}
	known, err := indexLayers(s.dir)
	if err != nil {
		return err
	}
	// If it fits even where nothing can be reused, nothing more has to be known.
	if s.dir.Space(spaceFor(jobs, known, nil), int64(len(jobs))) == nil {
		return nil
	}
	reuse := map[*job]int64{}
	for _, j := range jobs {
		n, err := s.reusable(ctx, j, known)
		if err != nil {
			return nil
		}
		reuse[j] = n
	}
	return s.dir.Space(spaceFor(jobs, known, reuse), int64(len(jobs)))
}

// reusable is how many bytes of an image the disk has. If only reading a payload would tell,
// it is at best all that the disk has.
func (s *Session) reusable(ctx context.Context, j *job, known layerIndex) (int64, error) {
	var bytes int64
	in := newIntake(j.src, j.target, known, nowhere{}, nil)
	in.frugal = true
	err := in.findSums(ctx)
	if errors.Is(err, errListCostly) {
		for _, size := range known.sizes {
			bytes += size
		}
		return bytes, nil
	}
	if err != nil {
		return 0, err
	}
	for _, sum := range in.sums {
		if s.dir.Holds(sum) {
			bytes += known.sizes[sum]
		}
	}
	return bytes, nil
}

// incoming lists the jobs that bring another image to one of their trees.
func (p *Placement) incoming() (jobs []*job) {
	for _, j := range p.jobs {
		if slices.ContainsFunc(j.places, func(pl *spot) bool {
			cur := p.session.have.live[pl.next.Live] // read when it was considered
			return cur == nil || cur.Digest != pl.next.Digest
		}) {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// spaceFor adds up what layers unpack to that are not there, each once, without
// what is known to be reused.
func spaceFor(jobs []*job, known layerIndex, reuse map[*job]int64) int64 {
	var total int64
	seen := map[string]bool{}
	for _, j := range jobs {
		var bytes int64
		for _, l := range layersOf(j.target) {
			name := l.blob().Digest.String()
			if _, there := l.recorded(known); there || seen[name] {
				continue
			}
			seen[name] = true
			if bytes += l.space(); bytes < 0 {
				return math.MaxInt64
			}
		}
		if total += max(bytes-reuse[j], 0); total < 0 {
			return math.MaxInt64
		}
	}
	return total
}
