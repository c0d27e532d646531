package extract

import (
	"context"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// peekMin is the size of a layer, in bytes, from which on SHA256SUM alone is
// looked for in it: less is read as a whole in the same time.
const peekMin = 1 << 20

// peekPays tells whether SHA256SUM is worth being read by itself: others than
// nbpack put it beside the payload. A first installation needs all of that anyway.
func (in *intake) peekPays(l layer) bool {
	t, ok := l.(*tarLayer)
	if !ok || in.noResume || t.holds.Digest == "" || t.desc.Size < peekMin {
		return false
	}
	tables, err := archive.LayerTables(t.desc)
	cost := tables.TarSplit.Length + max(tables.TOC.Length, tables.FileTable.Length)
	if err != nil || !tables.TarSplit.Present() || cost > t.desc.Size/chunkShare {
		return false
	}
	return in.disk == nil || len(in.known.sizes) > 0 || in.disk.HasLeftovers()
}

// peekSums reads the list out of a layer with tables, so that the rest can be read
// in parts. It is proved with the layer, as all of that; where the proof fails, the
// tree is begun once more without a peek.
func (in *intake) peekSums(ctx context.Context, i int) (bool, error) {
	l := in.layers[i].(*tarLayer)
	b, err := in.draw(ctx, l)
	if err == nil && b == nil {
		return false, nil
	}
	var e spec.Entry
	var body []byte
	if err == nil {
		e, body, err = b.readSums(ctx, in.src)
	}
	var list []spec.Sum
	if err == nil {
		list, err = spec.ParseSums(body)
	}
	if err != nil && whole(err) {
		in.logf("%s: look for SHA256SUM: %v", layerName(l.desc), err)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: look for SHA256SUM: %w", layerName(l.desc), err)
	}
	e.SHA256, e.Size = sha256Hex(body), int64(len(body))
	if err := in.stageSums(body, &e); err != nil {
		return false, err
	}
	in.hold(e)
	in.peeked, in.listed = e.SHA256, e.SHA256
	in.use(i, b)
	return true, in.setSums(list)
}

// readSums fetches SHA256SUM alone.
func (b *blueprint) readSums(ctx context.Context, src transport.Source) (e spec.Entry, body []byte, err error) {
	for _, e = range b.split.Entries() {
		if e.Path == spec.SumsName && e.Type == spec.TypeFile {
			break
		}
	}
	if e.Path != spec.SumsName || e.Size <= 0 || e.Size > spec.MaxSumsSize {
		return e, nil, fmt.Errorf("none is in the tables: %w", errNoParts)
	}
	frames, err := archive.NewFrameReader()
	if err != nil {
		return e, nil, err
	}
	defer frames.Close()
	err = readRanges(ctx, src, b.layer.desc, []transport.Range{b.where[e.Path]}, func(_ int, r io.Reader) error {
		if err := frames.Reset(ctx, r, e.Size); err != nil {
			return err
		}
		body, err = io.ReadAll(frames) // no more than e.Size
		return err
	})
	return e, body, err
}
