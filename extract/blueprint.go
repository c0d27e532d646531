package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// blueprint is what can be known of a tar layer without its contents: from the
// tables of a zstd:chunked one, or from the headers of a plain one. Publishers
// can lie in it. So it decides what is fetched and what a dry run says, but of a
// layer that is read in parts nothing counts before the diff ID is proved, and
// whatever is wrong with it ends in reading the whole blob.
type blueprint struct {
	layer  *tarLayer
	tables archive.Tables
	split  *archive.TarSplit
	where  map[string]transport.Range // of each content in the blob, by path
	plain  bool                       // contents are not compressed
	toc    map[string]archive.ChunkedFile
	frame  []byte              // that toc was read from, to be kept
	own    string              // sha256 of its SHA256SUM, where that is known; else empty
	equal  map[string][]string // paths of files by the checksum that is promised
}

// errNoParts says that a layer cannot be had in parts, or that this would not be
// cheaper.
var errNoParts = errors.New("parts of it will not do")

// errMostMissing is errNoParts where so much of the layer is missing that asking for
// parts saves nothing: as on each first install, so nobody wants to hear of it.
var errMostMissing = fmt.Errorf("most of it is missing: %w", errNoParts)

// whole tells whether an error of reading in parts leaves the whole blob as the
// way: it gives the right content, or the right reason to refuse it.
func whole(err error) bool {
	return errors.Is(err, errNoParts) || errors.Is(err, transport.ErrNoRanges) || isRefusal(err)
}

func isRefusal(err error) bool {
	var r *spec.Refusal
	return errors.As(err, &r)
}

// draw makes the blueprint of a layer; nil where there is none.
func (in *intake) draw(ctx context.Context, l *tarLayer) (*blueprint, error) {
	tables, err := archive.LayerTables(l.desc)
	if err == nil && tables.TarSplit.Present() {
		b := &blueprint{layer: l, tables: tables, where: map[string]transport.Range{}}
		if err = b.readTables(ctx, in.src); err == nil {
			return b, b.check()
		}
	} else if codec, cerr := spec.LayerCodec(l.desc.MediaType); cerr == nil && codec == spec.CodecNone {
		b := &blueprint{layer: l, plain: true, where: map[string]transport.Range{}}
		if err = b.readHeaders(ctx, in.src); err == nil {
			return b, b.check()
		}
	} else {
		return nil, nil
	}
	return nil, err
}

// readTables fetches the smaller table of files, and the tar-split beside it.
func (b *blueprint) readTables(ctx context.Context, src transport.Source) error {
	files := b.tables.FileTable
	if !files.Present() {
		files = b.tables.TOC
	}
	if !files.Present() {
		return errNoParts
	}
	frames, err := b.fetch(ctx, src, files, b.tables.TarSplit)
	if err != nil {
		return err
	}
	split := b.tables.TarSplit
	if b.tables.FileTable.Present() {
		table, err := archive.DecodeFileTable(frames[0], files, b.layer.desc.Size)
		if err != nil {
			return err
		}
		split.Digest = table.TarSplit
		for _, f := range table.Files {
			b.where[f.Path] = transport.Range{Offset: f.Offset, Length: f.End - f.Offset}
		}
	} else if split.Digest, err = b.learn(ctx, frames[0]); err != nil {
		return err
	}
	if _, err := split.Read(bytes.NewReader(frames[1])); err != nil {
		return err
	}
	b.split, err = archive.DecodeTarSplit(ctx, frames[1], split, b.layer.desc, b.layer.at)
	return err
}

// fetch reads tables by range; what they are proved by must be known.
func (b *blueprint) fetch(ctx context.Context, src transport.Source, tables ...archive.Table) ([][]byte, error) {
	order := make([]int, len(tables))
	for i := range order {
		order[i] = i
	}
	if len(tables) == 2 && tables[1].Offset < tables[0].Offset {
		order = []int{1, 0}
	}
	var ranges []transport.Range
	end := int64(0)
	for _, i := range order {
		if tables[i].Offset < end {
			return nil, errNoParts // they overlap
		}
		end = tables[i].Offset + tables[i].Length
		ranges = append(ranges, transport.Range{Offset: tables[i].Offset, Length: tables[i].Length})
	}
	frames := make([][]byte, len(tables))
	err := readRanges(ctx, src, b.layer.desc, ranges, func(i int, r io.Reader) (err error) {
		frames[order[i]], err = tables[order[i]].Read(r)
		if err == nil {
			err = atEnd(r)
		}
		return err
	})
	return frames, err
}

// atEnd reads what must be the end of a part.
func atEnd(r io.Reader) error {
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return spec.Refuse(spec.RuleLayerStream, "", "a part of the layer is longer than its table says")
	case err == io.EOF:
		return nil
	default:
		return err
	}
}

// readTOC fetches the table of contents, unless it is there.
func (b *blueprint) readTOC(ctx context.Context, src transport.Source) error {
	if b.toc != nil {
		return nil
	}
	frames, err := b.fetch(ctx, src, b.tables.TOC)
	if err != nil {
		return err
	}
	_, err = b.learn(ctx, frames[0])
	return err
}

// learn takes chunks and places of files from a table of contents, and gives the
// digest of the tar-split that it names.
func (b *blueprint) learn(ctx context.Context, frame []byte) (split digest.Digest, err error) {
	toc, err := archive.DecodeTOC(ctx, frame, b.tables.TOC, b.layer.desc.Size)
	if err != nil {
		return "", err
	}
	b.toc, b.frame = map[string]archive.ChunkedFile{}, frame
	for _, f := range toc.Files {
		b.toc[f.Path] = f
		if n := len(f.Chunks); n > 0 {
			from := f.Chunks[0].Offset
			b.where[f.Path] = transport.Range{Offset: from, Length: f.Chunks[n-1].End - from}
		}
	}
	return toc.TarSplit, nil
}

// maxHeaderReads bounds the requests that the headers of a plain tar may take.
// Each of them brings a piece of 32 KiB, and skips a content.
const maxHeaderReads = 24

func (b *blueprint) readHeaders(ctx context.Context, src transport.Source) error {
	at := &headerRanges{ctx: ctx, src: src, layer: b.layer}
	split, files, err := archive.ScanTar(ctx, at, b.layer.desc, b.layer.at)
	if err != nil {
		return err
	}
	b.split = split
	for _, f := range files {
		b.where[f.Path] = transport.Range{Offset: f.Offset, Length: f.End - f.Offset}
	}
	return nil
}

// headerRanges reads a few pieces of a blob.
type headerRanges struct {
	ctx   context.Context
	src   transport.Source
	layer *tarLayer
	reads int
}

// ReadAt implements [io.ReaderAt].
func (h *headerRanges) ReadAt(p []byte, at int64) (n int, err error) {
	if h.reads++; h.reads > maxHeaderReads {
		return 0, errNoParts
	}
	part := []transport.Range{{Offset: at, Length: int64(len(p))}}
	err = transport.Ranges(h.ctx, h.src, h.layer.desc, part, func(_ int, r io.Reader) error {
		if n, err = io.ReadFull(r, p); err != nil {
			return err
		}
		return atEnd(r)
	})
	return n, err
}

// check refuses a blueprint whose parts do not fit together.
func (b *blueprint) check() error {
	for _, e := range b.split.Entries() {
		if !b.layer.holds.Holds(e.Path) {
			return fmt.Errorf("%q lies outside of its layer: %w", e.Path, errNoParts)
		}
		at, ok := b.where[e.Path]
		if e.Type == spec.TypeFile && e.Size > 0 && (!ok || at.Length <= 0) {
			return spec.Refuse(spec.RuleFileTable, e.Path, "no table says where the file lies")
		}
		if chunked, ok := b.toc[e.Path]; ok && e.Type == spec.TypeFile && chunked.Size != e.Size {
			return spec.Refuse(spec.RuleChunkTable, e.Path, "%d bytes in the table of contents, %d in the tar", chunked.Size, e.Size)
		}
	}
	return nil
}

// entries lists what the layer holds. Its files get the checksums that are
// promised; a copy of an entry link, of which none is known, is left out.
func (b *blueprint) entries(sums map[string]string) []spec.Entry {
	var all []spec.Entry
	files := map[string]spec.Entry{}
	for _, e := range b.split.Entries() {
		switch e.Type {
		case spec.TypeFile:
			if e.SHA256 = b.sum(e, sums); e.SHA256 == "" {
				continue
			}
			files[e.Path] = e
		case spec.TypeHardlink:
			target := files[e.Target]
			e.SHA256, e.Size = target.SHA256, target.Size
		}
		all = append(all, e)
	}
	return all
}

// sum is what a file of the layer should hold: as promised, else as the table of
// contents has it; empty where neither says it.
func (b *blueprint) sum(e spec.Entry, sums map[string]string) string {
	if e.Path == spec.SumsName {
		return b.own
	}
	if sum, ok := sums[e.Path]; ok {
		return sum
	}
	if f, ok := b.toc[e.Path]; ok && f.Size > 0 {
		return fmt.Sprintf("%x", f.SHA256)
	}
	return ""
}

// promised lists the files of the layer that are to have a checksum.
func (b *blueprint) promised(sum string, sums map[string]string) []string {
	if b.equal == nil {
		b.equal = map[string][]string{}
		for _, e := range b.split.Entries() {
			if want, ok := sums[e.Path]; ok && e.Type == spec.TypeFile {
				b.equal[want] = append(b.equal[want], e.Path)
			}
		}
	}
	return b.equal[sum]
}
