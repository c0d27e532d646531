package extract

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

const (
	// maxDonated is the longest chunk that is taken from the disk, in bytes: it
	// is held in memory until its digest is right. nbpack makes none so long.
	maxDonated = 8 << 20
	// maxLists bounds the chunk lists that are read for one layer, in bytes: a
	// dozen of the longest that nbpack writes.
	maxLists = 128 << 20
	// maxLies is how many wrong chunks a file may have before no more are
	// looked for in it.
	maxLies = 3
)

// sum256 is the digest of a chunk.
type sum256 = [sha256.Size]byte

// donors knows where chunks may lie on the disk. It believes nothing: what it
// gives has the digest that was asked for.
type donors struct {
	disk   *bootdir.Stage
	places map[sum256]place
	lies   map[string]int // wrong chunks by content
	left   map[string]*bootdir.Leftover
	name   string // content of the open file
	file   bootdir.ReadAtCloser
	buf    []byte
}

// place is a chunk in a file of which the sha256 is recorded.
type place struct {
	content string
	at      int64
}

// findDonors looks for chunks of files in the lists of recorded layers, first in
// those with the same names, and in what interrupted runs have left.
func (in *intake) findDonors(ctx context.Context, parts []part) (*donors, error) {
	d := &donors{disk: in.disk, places: map[sum256]place{}, lies: map[string]int{}, left: map[string]*bootdir.Leftover{}}
	resumes := in.disk.HasLeftovers()
	missing := 0
	for _, p := range parts {
		if len(p.chunks) < 2 {
			continue
		}
		if resumes {
			if left := in.disk.Leftover(p.entry.Path); left != nil {
				d.left[p.entry.Path] = left
			}
		}
		for _, c := range p.chunks {
			d.places[c.SHA256] = place{}
		}
	}
	missing = len(d.places)
	room := int64(maxLists)
	for _, k := range in.likeliest(parts) {
		for _, list := range k.layer.Chunks {
			if room -= list.Plain; room < 0 || missing == 0 {
				return d, nil
			}
			n, err := d.read(ctx, in.stock, k.image.Digest, list)
			if err != nil {
				d.close()
				return nil, err
			}
			missing -= n
		}
	}
	return d, nil
}

// likeliest lists the recorded layers that have chunk lists, those with the most
// names of the wanted files first.
func (in *intake) likeliest(parts []part) []knownLayer {
	wanted := map[string]bool{}
	for _, p := range parts {
		wanted[p.entry.Path] = true
	}
	scores := map[*bootdir.Layer]int{}
	layers := slices.Clone(in.known.lists)
	for _, k := range layers {
		for _, e := range k.layer.Entries {
			if wanted[e.Path] {
				scores[k.layer]++
			}
		}
	}
	slices.SortStableFunc(layers, func(a, b knownLayer) int { return cmp.Compare(scores[b.layer], scores[a.layer]) })
	return layers
}

// read takes the wanted chunks out of one list, and counts them. A list that
// cannot be read is worth nothing.
func (d *donors) read(ctx context.Context, s stock, image string, list bootdir.ChunkList) (found int, err error) {
	frame := s.Chunks(image, list.SHA256)
	if frame == nil {
		return 0, nil
	}
	toc, err := archive.DecodeTOC(ctx, frame, archive.Table{Length: int64(len(frame)), Plain: list.Plain}, list.Blob)
	if err != nil {
		return 0, context.Cause(ctx)
	}
	for _, f := range toc.Files {
		content := fmt.Sprintf("%x", f.SHA256)
		if len(f.Chunks) == 0 || !s.Holds(content) {
			continue
		}
		var at int64
		for _, c := range f.Chunks {
			if have, wanted := d.places[c.SHA256]; wanted && have.content == "" {
				d.places[c.SHA256] = place{content, at}
				found++
			}
			at += c.Size
		}
	}
	return found, nil
}

// has tells whether the disk may have a chunk, which lies at a place of the file
// at path.
func (d *donors) has(path string, at int64, c archive.Chunk) bool {
	if c.Zeros {
		return true
	}
	if c.Size > maxDonated {
		return false
	}
	left := d.left[path]
	return left != nil && at+c.Size <= left.Size() || d.places[c.SHA256].content != ""
}

// copy writes a chunk from the disk. It gives false when the disk has it no
// more; then has says so, too.
func (d *donors) copy(w io.Writer, path string, at int64, c archive.Chunk) (bool, error) {
	if c.Zeros {
		_, err := io.CopyN(w, zeros{}, c.Size)
		return true, err
	}
	if int64(len(d.buf)) < c.Size {
		d.buf = make([]byte, max(c.Size, 1<<20))
	}
	b := d.buf[:c.Size]
	if !d.find(b, path, at, c) {
		return false, nil
	}
	_, err := w.Write(b)
	return true, err
}

func (d *donors) find(b []byte, path string, at int64, c archive.Chunk) bool {
	if left := d.left[path]; left != nil && at+c.Size <= left.Size() {
		if _, err := left.ReadAt(b, at); err == nil && sha256.Sum256(b) == c.SHA256 {
			return true
		}
		left.Close() // of another version
		delete(d.left, path)
	}
	from := d.places[c.SHA256]
	if from.content == "" {
		return false
	}
	if d.lies[from.content] < maxLies {
		if file := d.open(from.content); file != nil {
			if _, err := file.ReadAt(b, from.at); err == nil && sha256.Sum256(b) == c.SHA256 {
				return true
			}
		}
	}
	if d.lies[from.content]++; d.lies[from.content] < maxLies {
		delete(d.places, c.SHA256)
		return false
	}
	for sum, p := range d.places {
		if p.content == from.content {
			delete(d.places, sum)
		}
	}
	return false
}

// open opens a content; neighbours mostly come from the same file.
func (d *donors) open(content string) bootdir.ReadAtCloser {
	if d.name != content || d.file == nil {
		d.closeFile()
		d.name, d.file = content, d.disk.Content(content)
	}
	return d.file
}

func (d *donors) closeFile() {
	if d.file != nil {
		_ = d.file.Close()
		d.file = nil
	}
}

func (d *donors) close() {
	d.closeFile()
	for _, left := range d.left {
		_ = left.Close()
	}
}

// zeros is an endless stream of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// keptList is a chunk list on its way into the record of an image.
type keptList struct {
	bootdir.ChunkList
	frame []byte // the list, or
	from  string // the image under whose name it is kept
}

// maxKept bounds the lists of one layer: with each small update one more of an
// older layer could be worth keeping.
const maxKept = 4

// chunkListsOf gives what is to be kept for layer i: its own table of contents, where
// that was read; else the lists of recorded layers that have large files in common
// with it, so that an update after this one finds their chunks.
func (in *intake) chunkListsOf(i int) []keptList {
	if own := in.lists[i]; own != nil {
		return own
	}
	large := map[string]bool{}
	for _, e := range in.entries[i] {
		if e.Type == spec.TypeFile && e.Size >= minChunked {
			large[e.SHA256] = true
		}
	}
	var kept []keptList
	seen := map[string]bool{}
	for _, k := range in.known.lists {
		shares := slices.ContainsFunc(k.layer.Entries, func(e spec.Entry) bool { return large[e.SHA256] })
		for _, list := range k.layer.Chunks {
			if shares && !seen[list.SHA256] && len(kept) < maxKept {
				seen[list.SHA256] = true
				kept = append(kept, keptList{ChunkList: list, from: k.image.Digest})
			}
		}
	}
	return kept
}

// keepList notes the table of contents of a layer, as it lies in the blob.
func (in *intake) keepList(l *tarLayer, t archive.Table, frame []byte) {
	if frame != nil {
		list := bootdir.ChunkList{SHA256: sha256Hex(frame), Plain: t.Plain, Blob: l.desc.Size}
		in.lists[l.at] = []keptList{{ChunkList: list, frame: frame}}
	}
}

// keepLists keeps the chunk lists of an image that is in place, be they new or of
// an image before it.
func (p *Placement) keepLists(image string, lists []keptList) {
	for _, l := range lists {
		if l.frame == nil {
			l.frame = p.dir.Chunks(l.from, l.SHA256)
		}
		if l.frame != nil {
			p.dir.KeepChunks(image, l.frame)
		}
	}
}
