package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

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
func (t *tocWriter) add(e tocEntry, chunks []chunkRecord) error {
	if len(chunks) > 1 {
		chunks[0].describe(&e, 0)
	}
	t.entry(e)
	var at int64
	for i := range chunks {
		if i > 0 {
			c := tocEntry{Type: tocChunk, Name: e.Name}
			chunks[i].describe(&c, at)
			t.entry(c)
		}
		at += chunks[i].size
	}
	return t.err
}

func (c *chunkRecord) describe(e *tocEntry, at int64) {
	e.Offset, e.ChunkOffset, e.ChunkSize = c.offset, at, c.size
	e.ChunkDigest = sha256Digest(c.sum[:])
	if c.zeros {
		e.ChunkType = tocChunkZeros
	}
}

func (t *tocWriter) entry(e tocEntry) {
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

// Tables are mostly digests, in which no encoder finds anything: the smallest window
// and the fastest level make the smallest tables, and take the least memory.
const (
	metaWindow = 128 << 10
	metaLevel  = zstd.SpeedFastest
)

func newMetaFrame() (*metaFrame, error) {
	f := &metaFrame{}
	z, err := newZstdEncoder(&f.data, metaLevel, metaWindow, 1)
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
func (f *metaFrame) writeTo(w io.Writer, at int64) (Table, error) {
	return f.table(at + skippableHeader), writeSkippable(w, f.data.Bytes())
}

// table describes the frame with its content at offset.
func (f *metaFrame) table(offset int64) Table {
	return Table{Offset: offset, Length: int64(f.data.Len()), Plain: f.size, Digest: f.digest()}
}
