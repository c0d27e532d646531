package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// Layer annotations of zstd:chunked, as containers/storage reads them. Positions
// are decimal and separated by colons: offset of the content of the frame, its
// length, its length when decompressed; for the table of contents also its type, 1.
const (
	AnnotationTOCDigest        = "io.github.containers.zstd-chunked.manifest-checksum"
	AnnotationTOCPosition      = "io.github.containers.zstd-chunked.manifest-position"
	AnnotationTarSplitPosition = "io.github.containers.zstd-chunked.tarsplit-position"
)

// TOCEntry is one entry of the table of contents of a zstd:chunked layer, in the
// JSON that containers/storage defines.
//
// A regular file is one entry of type "reg", followed by one entry of type
// "chunk" for each further chunk; the Chunk fields are set only where a file has
// more than one. The bytes [Offset,EndOffset) of the blob are zstd frames that
// decompress to the content; a chunk ends where the next one begins.
type TOCEntry struct {
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	LinkName    string            `json:"linkName,omitempty"`
	Mode        int64             `json:"mode,omitempty"`
	Size        int64             `json:"size,omitempty"`
	UID         int               `json:"uid,omitempty"`
	GID         int               `json:"gid,omitempty"`
	ModTime     *time.Time        `json:"modtime,omitempty"`
	AccessTime  *time.Time        `json:"accesstime,omitempty"`
	ChangeTime  *time.Time        `json:"changetime,omitempty"`
	DevMajor    int64             `json:"devMajor,omitempty"`
	DevMinor    int64             `json:"devMinor,omitempty"`
	Xattrs      map[string]string `json:"xattrs,omitempty"`
	Digest      digest.Digest     `json:"digest,omitempty"`
	Offset      int64             `json:"offset,omitempty"`
	EndOffset   int64             `json:"endOffset,omitempty"`
	ChunkSize   int64             `json:"chunkSize,omitempty"`
	ChunkOffset int64             `json:"chunkOffset,omitempty"`
	ChunkDigest digest.Digest     `json:"chunkDigest,omitempty"`
	ChunkType   string            `json:"chunkType,omitempty"`
}

// Values of TOCEntry.Type and TOCEntry.ChunkType.
const (
	TOCFile       = "reg"
	TOCDir        = "dir"
	TOCSymlink    = "symlink"
	TOCHardlink   = "hardlink"
	TOCChunk      = "chunk"
	TOCChunkZeros = "zeros" // the chunk is a hole: nothing but zero bytes
)

// newTOCEntry repeats the fields of a tar header. Readers compare them with the
// header in tar-split and refuse a table that says something else.
func newTOCEntry(h *tar.Header) TOCEntry {
	e := TOCEntry{
		Name: h.Name, LinkName: h.Linkname, Mode: h.Mode, Size: h.Size,
		UID: h.Uid, GID: h.Gid, DevMajor: h.Devmajor, DevMinor: h.Devminor,
		ModTime: tocTime(h.ModTime), AccessTime: tocTime(h.AccessTime), ChangeTime: tocTime(h.ChangeTime),
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = TOCFile
	case tar.TypeDir:
		e.Type = TOCDir
	case tar.TypeSymlink:
		e.Type = TOCSymlink
	case tar.TypeLink:
		e.Type = TOCHardlink
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxXattr); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = base64.StdEncoding.EncodeToString([]byte(v))
		}
	}
	return e
}

// tocTime is in UTC, because the JSON form of a time names its zone.
func tocTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// chunkRecord is what is kept of a chunk until its file is complete. It is small
// on purpose: it is the only thing that grows with the size of a file.
type chunkRecord struct {
	offset int64 // in the blob
	size   int64 // uncompressed
	sum    [sha256.Size]byte
	zeros  bool
}

// tocWriter writes the table of contents as it grows, already compressed, because
// the entries of a large payload would not fit into memory otherwise.
type tocWriter struct {
	frame *metaFrame
	n     int
	err   error
}

func newTOCWriter() (*tocWriter, error) {
	f, err := newMetaFrame()
	if err != nil {
		return nil, err
	}
	t := &tocWriter{frame: f}
	t.write([]byte(`{"version":1,"entries":[`))
	return t, nil
}

func (t *tocWriter) write(p []byte) {
	if t.err == nil {
		_, t.err = t.frame.Write(p)
	}
}

// add writes the entries of one tar member.
func (t *tocWriter) add(e TOCEntry, chunks []chunkRecord) error {
	if len(chunks) > 1 {
		chunks[0].describe(&e, 0)
	}
	t.entry(e)
	var at int64
	for i := range chunks {
		if i > 0 {
			c := TOCEntry{Type: TOCChunk, Name: e.Name}
			chunks[i].describe(&c, at)
			t.entry(c)
		}
		at += chunks[i].size
	}
	return t.err
}

func (c *chunkRecord) describe(e *TOCEntry, at int64) {
	e.Offset, e.ChunkOffset, e.ChunkSize = c.offset, at, c.size
	e.ChunkDigest = sha256Digest(c.sum[:])
	if c.zeros {
		e.ChunkType = TOCChunkZeros
	}
}

func (t *tocWriter) entry(e TOCEntry) {
	b, err := json.Marshal(e)
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("describe %q: %w", e.Name, err)
	}
	if t.n > 0 {
		t.write([]byte{','})
	}
	t.n++
	t.write(b)
}

// finish ends the table, which names the digest of the tar-split frame.
func (t *tocWriter) finish(tarSplit digest.Digest) error {
	t.write(fmt.Appendf(nil, `],"tarSplitDigest":%q}`, tarSplit))
	if t.err != nil {
		return t.err
	}
	return t.frame.Close()
}

func sha256Digest(sum []byte) digest.Digest {
	return digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum))
}

// metaFrame compresses a table in memory and counts its plain bytes.
type metaFrame struct {
	data bytes.Buffer
	zstd *zstd.Encoder
	size int64
}

// metaWindow suffices for tables and saves memory: two are open all the time.
const metaWindow = 512 << 10

func newMetaFrame() (*metaFrame, error) {
	f := &metaFrame{}
	z, err := newZstdEncoder(&f.data, metaWindow)
	f.zstd = z
	return f, err
}

func (f *metaFrame) Write(p []byte) (int, error) {
	n, err := f.zstd.Write(p)
	f.size += int64(n)
	return n, err
}

// Close completes the compressed data.
func (f *metaFrame) Close() error { return f.zstd.Close() }

func (f *metaFrame) digest() digest.Digest { return digest.FromBytes(f.data.Bytes()) }

// writeTo appends the table as a skippable frame to w, which is at position at,
// and returns where its content lies.
func (f *metaFrame) writeTo(w io.Writer, at int64) (position, error) {
	p := position{offset: at + skippableHeader, length: int64(f.data.Len()), plain: f.size}
	return p, writeSkippable(w, f.data.Bytes())
}
