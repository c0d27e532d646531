package extract

import (
	"context"
	"fmt"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

const (
	// requestCost is how many bytes a request is worth: a round trip of 5 ms at
	// 100 Mbit/s.
	requestCost = 64 << 10
	// chunkShare: of a large file that changed, one part in so many is expected
	// to be on the disk already. A squashfs keeps six parts of seven from one
	// build to the next, a compressed kernel or initrd none; the table that
	// tells is about one part in 170.
	chunkShare = 4
	// wholeShare: from so many eighths of a blob on, its stream is the better
	// way. It is decompressed, digested and written in one go, while parts are
	// read once more to prove the layer.
	wholeShare = 7
)

// survey draws the blueprints of the layers of which parts will do. In a dry run
// these are all that have one, since it wants to know links, directories and
// sizes and fetches nothing else.
func (in *intake) survey(ctx context.Context) error {
	for i := range in.layers {
		if _, known := in.replayableByRecord(i); known || in.entries[i] != nil {
			continue
		}
		if err := in.surveyLayer(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// surveyLayer draws one blueprint, once, if it pays.
func (in *intake) surveyLayer(ctx context.Context, i int) error {
	l, ok := in.layers[i].(*tarLayer)
	if _, done := in.prints[i]; !ok || done || !in.exact || l.holds.Digest == "" || !in.surveyPays(l) {
		return nil
	}
	b, err := in.draw(ctx, l)
	if err != nil && !whole(err) {
		return fmt.Errorf("%s: read its tables: %w", layerName(l.desc), err)
	}
	if err != nil {
		in.logf("%s: %v; it is read as a whole", layerName(l.desc), err)
		b = nil
	}
	in.use(i, b)
	return nil
}

// use takes a blueprint for a layer; nil has it read as a whole.
func (in *intake) use(i int, b *blueprint) {
	if in.prints[i] = b; b == nil {
		return
	}
	for _, e := range b.split.Entries() {
		if e.Type == spec.TypeFile {
			in.drawn[e.Path] = e.Size
		}
		if e.Path == spec.SumsName {
			b.own = in.listed
		}
	}
}

// surveyPays compares what the tables cost with what they can save.
func (in *intake) surveyPays(l *tarLayer) bool {
	tables, err := archive.LayerTables(l.desc)
	if err != nil {
		return false
	}
	cost := tables.FileTable.Length
	if cost == 0 {
		cost = tables.TOC.Length
	}
	cost += tables.TarSplit.Length + requestCost
	if !tables.TarSplit.Present() {
		// A plain tar: a piece of headers for each file, as far as is known.
		cost = int64(min(len(in.sums)+1, maxHeaderReads)) * 2 * requestCost
	}
	if in.disk == nil {
		return cost < l.desc.Size
	}
	held, chunks := in.atHand()
	return cost < min(l.desc.Size, held+chunks/chunkShare)
}

// atHand tells how many bytes of what is promised the disk has: as whole files,
// and as files of which chunks may be of use. A file that an interrupted run has
// left counts as whole.
func (in *intake) atHand() (held, chunks int64) {
	resumes := in.disk != nil && in.disk.HasLeftovers()
	for p, sum := range in.sums {
		if in.stock.Holds(sum) {
			held += in.known.sizes[sum]
			continue
		}
		if resumes {
			if left := in.disk.Leftover(p); left != nil {
				held += left.Size()
				left.Close()
			}
		}
		chunks += in.known.chunked[p]
	}
	return held, chunks + in.gone()
}

// gone adds up the large files of the tree as it stands whose names go: they may
// come back under another one.
func (in *intake) gone() (bytes int64) {
	for _, e := range in.old {
		if _, stays := in.sums[e.Path]; !stays && e.Type == spec.TypeFile {
			bytes += in.known.chunked[e.Path]
		}
	}
	return bytes
}

// replayableByRecord tells whether the records say what a layer holds, and that
// all of it is on the disk. Reuse finds out whether that is true.
func (in *intake) replayableByRecord(i int) ([]spec.Entry, bool) {
	entries, ok := in.layers[i].foresee(in.known)
	if !ok {
		return nil, false
	}
	for _, e := range entries {
		if e.Type == spec.TypeFile && in.staged[e.Path].SHA256 != e.SHA256 && !in.stock.Holds(e.SHA256) && !in.isEntryLinkCopy(e) {
			return nil, false
		}
	}
	return entries, true
}
