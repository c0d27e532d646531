package extract

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// readParts brings in a layer of which the disk has the most: it fetches the rest
// by range and proves the layer. It gives false when the whole blob must be read;
// nothing of the layer is then in the stage that is not proved.
func (in *intake) readParts(ctx context.Context, i int) (bool, error) {
	if in.disk == nil {
		return false, nil
	}
	if err := in.surveyLayer(ctx, i); err != nil {
		return false, err
	}
	b := in.prints[i]
	if b == nil {
		return false, nil
	}
	entries, err := in.proveParts(ctx, b)
	if err == nil {
		in.keepList(b.layer, b.tables.TOC, b.frame)
		return true, in.admit(i, entries)
	}
	if !whole(err) {
		return false, fmt.Errorf("%s: %w", layerName(b.layer.desc), err)
	}
	if !errors.Is(err, errMostMissing) {
		in.logf("%s: %v; it is read as a whole", layerName(b.layer.desc), err)
	}
	if b.own != "" && in.peeked != "" {
		return false, errOnceMore
	}
	in.prints[i] = nil
	return false, in.settle(ctx, b)
}

// proveParts fetches what is missing and makes the tar stream again from the files
// in the stage. This one reading of theirs proves them and the layer. A file that
// turns out to be wrong is replaced, from another copy or from the blob, and then
// all is read again.
func (in *intake) proveParts(ctx context.Context, b *blueprint) ([]spec.Entry, error) {
	for {
		if err := in.assemble(ctx, b); err != nil {
			return nil, err
		}
		r := &reassembly{in: in, b: b}
		id, err := b.split.Reassemble(ctx, r.open, r.done)
		if errors.Is(err, archive.ErrWrongSize) && in.loose[r.reading.Path] {
			r.wrong, err = append(r.wrong, r.reading), nil
		}
		if err != nil {
			return nil, err
		}
		if len(r.wrong) == 0 {
			if want := b.layer.holds.Digest; id != want {
				return nil, spec.Refuse(spec.RuleDiffID, "", "put together from its parts the layer is %s, %s is promised", id, want)
			}
			b.layer.diffID = id.String()
			return r.entries(), in.linkEqual(r.equal)
		}
		for _, e := range r.wrong {
			if _, borrowed := in.reused[e.Path]; !borrowed {
				return nil, fmt.Errorf("%q was put together from the right parts and is wrong: %w", e.Path, errNoParts)
			}
			if err := in.replace(b, e); err != nil {
				return nil, err
			}
		}
	}
}

// reassembly is one pass over the files of a layer.
type reassembly struct {
	in      *intake
	b       *blueprint
	reading spec.Entry
	read    []spec.Entry // files, in the order of the tar
	wrong   []spec.Entry
	equal   []spec.Entry // staged under another path so far
}

func (r *reassembly) open(e spec.Entry) (io.ReadCloser, error) {
	r.reading = e
	at, ok := r.in.at(r.b, e)
	if !ok {
		return nil, fmt.Errorf("%q: %w", e.Path, errNoParts)
	}
	return r.in.disk.Open(at)
}

func (r *reassembly) done(e spec.Entry) error {
	r.read = append(r.read, e)
	want := r.in.promise(r.b, e.Path)
	if want == "" {
		return nil // a copy of an entry link: the check of the whole image compares it
	}
	_, held := r.in.staged[e.Path]
	switch {
	case e.SHA256 == want && r.in.loose[e.Path]:
		delete(r.in.loose, e.Path)
		r.in.hold(e)
		return r.in.disk.Prove(e.Path, e.SHA256)
	case e.SHA256 == want && !held:
		r.equal = append(r.equal, e)
	case e.SHA256 != want && (held || r.in.loose[e.Path]):
		r.wrong = append(r.wrong, e)
	case held:
		r.in.hold(e) // now with its size
	}
	return nil
}

// entries are those of the tar with the checksums of what was read.
func (r *reassembly) entries() []spec.Entry {
	all := append([]spec.Entry(nil), r.b.split.Entries()...)
	read := r.read
	for i := range all {
		if all[i].Type == spec.TypeFile {
			all[i], read = read[0], read[1:]
		}
	}
	return all
}

// at finds the staged file with the content of an entry: its own, or an equal one
// that is proved by now, or will be with this layer.
func (in *intake) at(b *blueprint, e spec.Entry) (string, bool) {
	if _, held := in.staged[e.Path]; held || in.loose[e.Path] {
		return e.Path, true
	}
	sum := b.sum(e, in.sums)
	if p, ok := in.content[sum]; ok {
		return p, true
	}
	for _, p := range b.promised(sum, in.sums) {
		if in.loose[p] {
			return p, true
		}
	}
	return "", false
}

// linkEqual stages files that are equal to others, which are proved by now.
func (in *intake) linkEqual(files []spec.Entry) error {
	for _, e := range files {
		if err := in.stage.Link(e.Path, in.content[e.SHA256]); err != nil {
			return err
		}
		in.hold(e)
	}
	return nil
}

// replace takes a wrong file out of the stage, and looks for another copy.
func (in *intake) replace(b *blueprint, e spec.Entry) error {
	if !in.loose[e.Path] {
		return fmt.Errorf("%q was right when it was staged, and is not any more", e.Path)
	}
	delete(in.loose, e.Path)
	if err := in.disk.Reject(e.Path); err != nil {
		return err
	}
	sum := in.promise(b, e.Path)
	if _, borrowed := in.reused[e.Path]; borrowed {
		in.spoiled[e.Path] = true
		delete(in.reused, e.Path)
	}
	ok, err := in.disk.Reuse(e.Path, sum, e.Size)
	if ok {
		in.reused[e.Path] = sum
		in.hold(spec.Entry{Path: e.Path, Type: spec.TypeFile, SHA256: sum, Size: e.Size})
	}
	return err
}

// settle proves the loose files of a layer one by one, before its blob is read as
// a whole. Those that are wrong will be written from that.
func (in *intake) settle(ctx context.Context, b *blueprint) error {
	for _, e := range b.split.Entries() {
		if !in.loose[e.Path] {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		file, err := in.disk.Open(e.Path)
		if err != nil {
			return err
		}
		sum, size, err := hashOf(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
		if sum != in.promise(b, e.Path) {
			if err := in.replace(b, e); err != nil {
				return err
			}
			continue
		}
		if err := in.disk.Prove(e.Path, sum); err != nil {
			return err
		}
		delete(in.loose, e.Path)
		in.hold(spec.Entry{Path: e.Path, Type: spec.TypeFile, SHA256: sum, Size: size})
	}
	return nil
}

// missingParts lists the files of a blueprint that are not in the stage, one for
// each content. It refuses what only the whole blob can judge.
func (in *intake) missingParts(b *blueprint) ([]part, error) {
	var parts []part
	wanted, contents := map[string]bool{}, in.promised()
	for _, e := range b.split.Entries() {
		if e.Type != spec.TypeFile {
			continue
		}
		promised := in.promise(b, e.Path) != ""
		if !promised && !in.isEntryLinkCopy(e) {
			return nil, fmt.Errorf("nothing tells what %q holds: %w", e.Path, errNoParts)
		}
		sum := b.sum(e, in.sums)
		if wanted[sum] {
			continue // a part of the same content comes
		}
		if _, have := in.at(b, e); have {
			continue
		}
		if !promised {
			if e.Size == 0 || contents[sum] {
				continue
			}
			return nil, fmt.Errorf("nothing tells what %q is a copy of: %w", e.Path, errNoParts)
		}
		wanted[sum] = true
		raw, err := hex.DecodeString(sum)
		if err != nil || len(raw) != len(sum256{}) {
			return nil, fmt.Errorf("checksum %q of %q: %w", sum, e.Path, errNoParts)
		}
		p := part{entry: e}
		if at := b.where[e.Path]; e.Size > 0 {
			p.chunks = []archive.Chunk{{Offset: at.Offset, End: at.Offset + at.Length, Size: e.Size, SHA256: sum256(raw)}}
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// promise is the checksum that a file of a layer is to have; empty where nothing
// says it.
func (in *intake) promise(b *blueprint, path string) string {
	if path == spec.SumsName {
		return b.own
	}
	return in.sums[path]
}

// promised is the content that any file is to hold.
func (in *intake) promised() map[string]bool {
	all := make(map[string]bool, len(in.sums))
	for _, sum := range in.sums {
		all[sum] = true
	}
	return all
}

// tocPays compares the length of the table of contents with the chunks that it may
// find on the disk.
func (in *intake) tocPays(b *blueprint, parts []part) bool {
	if b.toc != nil {
		return true
	}
	if !b.tables.TOC.Present() {
		return false
	}
	var left, fetch int64
	pool := in.gone()
	resumes := in.disk.HasLeftovers()
	for _, p := range parts {
		if resumes {
			if l := in.disk.Leftover(p.entry.Path); l != nil {
				left += min(l.Size(), p.entry.Size)
				l.Close()
				continue
			}
		}
		fetch += b.where[p.entry.Path].Length
		pool += in.known.chunked[p.entry.Path]
	}
	return left+min(fetch, pool)/chunkShare > b.tables.TOC.Length+requestCost
}

// cut replaces whole files by the chunks that the table of contents has of them.
func cut(b *blueprint, parts []part) error {
	for i, p := range parts {
		f, ok := b.toc[p.entry.Path]
		if !ok || len(p.chunks) == 0 {
			continue
		}
		if f.SHA256 != p.chunks[0].SHA256 {
			return spec.Refuse(spec.RuleChunkTable, p.entry.Path, "the table of contents has another checksum than SHA256SUM")
		}
		parts[i].chunks = f.Chunks
	}
	return nil
}
