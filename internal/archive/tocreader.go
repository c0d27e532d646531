package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// DecodeTOC reads the table of contents of a layer: frame is what [Table.Read] gave
// for t, blobSize the size of the blob in bytes. Every range of the table that it
// returns lies inside the blob, behind the one before; sizes of chunks add up to
// those of their files; paths are permitted, and none is there twice. A table that
// is different, or has more than [spec.MaxChunks] chunks, gives a *[spec.Refusal].
//
// What the table says about entries other than regular files is ignored, and so are
// owners and times: the tar is what counts, see [DecodeTarSplit].
func DecodeTOC(ctx context.Context, frame []byte, t Table, blobSize int64) (*TOC, error) {
	r, err := openTable(frame, t, refuseTable)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p := newTOCParser(ctx, r, blobSize)
	if err := p.parse(); err != nil {
		return nil, fmt.Errorf("read table of contents: %w", err)
	}
	return &p.toc, nil
}

// tocParser checks the entries of a table as they come.
type tocParser struct {
	ctx      context.Context
	walk     *jsonWalk
	keys     []string
	blobSize int64
	toc      TOC
	seen     map[string]bool // paths
	name     string          // of the file that chunks may belong to, as it is written; empty for none
	end      int64           // of that file's content in the blob, and of all content so far
	total    int64           // bytes of that file's chunks so far
	chunks   int             // of all files

	maxFiles, maxChunks int
}

func newTOCParser(ctx context.Context, r io.Reader, blobSize int64) *tocParser {
	// Keys that do not matter here must still be known: one of them in another case
	// might be what another reader takes for the key.
	var keys []string
	for f := range reflect.TypeFor[tocEntry]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		keys = append(keys, name)
	}
	return &tocParser{
		ctx: ctx, walk: newJSONWalk(r), keys: keys, blobSize: blobSize, seen: map[string]bool{},
		maxFiles: spec.MaxEntries, maxChunks: spec.MaxChunks,
	}
}

// parse reads the whole document.
func (p *tocParser) parse() error {
	version := int64(-1)
	err := p.walk.document([]string{"version", "entries", "tarSplitDigest"}, func(key string) error {
		switch key {
		case "version":
			return p.walk.number(&version)
		case "entries":
			return p.walk.list(p.entry)
		}
		return p.walk.text((*string)(&p.toc.TarSplit))
	})
	if err != nil {
		return err
	}
	if version != 1 {
		return refuseTable("the table of contents has another version than 1")
	}
	if p.toc.TarSplit != "" {
		if _, err := spec.ParseDigest(p.toc.TarSplit.String()); err != nil {
			return err
		}
	}
	return p.endFile()
}

// entry reads one element of the list.
func (p *tocParser) entry() error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	var e tocEntry
	err := p.walk.object(p.keys, func(key string) error {
		switch into := e.field(key).(type) {
		case *string:
			return p.walk.text(into)
		case *int64:
			return p.walk.number(into)
		}
		return p.walk.skip()
	})
	if err != nil {
		return err
	}
	if e.Type == tocChunk {
		if p.name == "" || e.Name != p.name {
			return spec.Refuse(spec.RuleChunkTable, e.Name, "chunk that does not follow its file")
		}
		return p.chunk(&e)
	}
	if err := p.endFile(); err != nil || e.Type != tocFile {
		return err
	}
	return p.file(&e)
}

// field gives the place of a value that is read.
func (e *tocEntry) field(key string) any {
	switch key {
	case "type":
		return &e.Type
	case "name":
		return &e.Name
	case "size":
		return &e.Size
	case "digest":
		return (*string)(&e.Digest)
	case "offset":
		return &e.Offset
	case "endOffset":
		return &e.EndOffset
	case "chunkSize":
		return &e.ChunkSize
	case "chunkOffset":
		return &e.ChunkOffset
	case "chunkDigest":
		return (*string)(&e.ChunkDigest)
	case "chunkType":
		return &e.ChunkType
	}
	return nil
}

// file begins a regular file.
func (p *tocParser) file(e *tocEntry) error {
	path, err := spec.CleanTarName(e.Name)
	if err != nil {
		return err
	}
	if path == "." || p.seen[path] {
		return spec.Refuse(spec.RuleChunkTable, e.Name, "a file cannot have this path, or has it a second time")
	}
	if len(p.toc.Files) == p.maxFiles {
		return refuseTable("the table of contents has more than %d files", p.maxFiles)
	}
	p.seen[path] = true
	f := ChunkedFile{Path: path, Size: e.Size}
	if e.Size == 0 {
		p.toc.Files = append(p.toc.Files, f)
		return nil
	}
	if f.SHA256, err = parseSum(e.Digest); err != nil {
		return err
	}
	if e.Offset < p.end || e.EndOffset <= e.Offset || e.EndOffset > p.blobSize {
		return spec.Refuse(spec.RuleChunkTable, e.Name, "range %d-%d overlaps another, or does not lie in the blob of %d bytes", e.Offset, e.EndOffset, p.blobSize)
	}
	p.toc.Files = append(p.toc.Files, f)
	p.name, p.end, p.total = e.Name, e.EndOffset, 0
	if e.ChunkSize == 0 && e.ChunkDigest == "" { // not cut
		e.ChunkSize, e.ChunkDigest = e.Size, e.Digest
	}
	return p.chunk(e)
}

// chunk adds a piece to the current file.
func (p *tocParser) chunk(e *tocEntry) error {
	f := &p.toc.Files[len(p.toc.Files)-1]
	if e.ChunkOffset != p.total || e.ChunkSize == 0 || e.ChunkSize > f.Size-p.total {
		return spec.Refuse(spec.RuleChunkTable, e.Name, "chunk of %d bytes at %d does not fit into a file of %d", e.ChunkSize, e.ChunkOffset, f.Size)
	}
	if n := len(f.Chunks); n > 0 {
		last := &f.Chunks[n-1]
		if e.Offset <= last.Offset || e.Offset >= p.end {
			return spec.Refuse(spec.RuleChunkTable, e.Name, "chunk at %d of the blob is not in the range of its file", e.Offset)
		}
		last.End = e.Offset
	}
	if e.ChunkType != "" && e.ChunkType != tocChunkZeros {
		return spec.Refuse(spec.RuleChunkTable, e.Name, "chunk of unknown type %q", e.ChunkType)
	}
	if p.chunks++; p.chunks > p.maxChunks {
		return refuseTable("the table of contents has more than %d chunks", p.maxChunks)
	}
	sum, err := parseSum(e.ChunkDigest)
	if err != nil {
		return err
	}
	f.Chunks = append(f.Chunks, Chunk{Offset: e.Offset, End: p.end, Size: e.ChunkSize, SHA256: sum, Zeros: e.ChunkType == tocChunkZeros})
	p.total += e.ChunkSize
	return nil
}

// endFile judges the chunks of the current file, if there is one.
func (p *tocParser) endFile() error {
	if p.name != "" {
		if size := p.toc.Files[len(p.toc.Files)-1].Size; p.total != size {
			return spec.Refuse(spec.RuleChunkTable, p.name, "the chunks have %d of the %d bytes of their file", p.total, size)
		}
	}
	p.name = ""
	return nil
}

// parseSum reads the one kind of digest that such tables use.
func parseSum(d digest.Digest) (sum [sha256.Size]byte, err error) {
	text, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(text) != hex.EncodedLen(len(sum)) || strings.ToLower(text) != text {
		return sum, refuseTable("%.100q is not a sha256 digest", string(d))
	}
	if _, err := hex.Decode(sum[:], []byte(text)); err != nil {
		return sum, refuseTable("%q is not a sha256 digest", string(d))
	}
	return sum, nil
}
