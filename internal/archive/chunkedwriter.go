package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"

	"github.com/nbpack/nbpack/spec"
	"github.com/vbatts/tar-split/tar/storage"
)

// pendingMax bounds the headers that wait for one common frame.
const pendingMax = 256 << 10

// chunkedStream writes a zstd:chunked blob:
//
//	frames of headers and content …  TOC  file table  tar-split  footer
//
// Every chunk of a file is a zstd frame of its own, and so are the tar headers
// between two files, so that a file is a range of the blob. The tables are
// skippable frames behind the data: a plain zstd decoder ignores them, and what
// partial readers know about them are the positions in the annotations, and the
// footer, which must be the last frame. A client that wants whole files reads the
// file table and tar-split in one range, one that wants chunks reads all three.
//
// The goroutine of encode cuts the stream and digests whole files, workers digest
// and compress the chunks, and one more goroutine writes the blob in order and
// knows where everything lies.
//
// The library's writer is not used because it is slow, keeps every chunk of the
// payload in memory and writes times of the table in the local time zone.
type chunkedStream struct {
	// Of the goroutine of encode.
	frames  *frameWriter
	pending []byte // headers and padding that wait for a frame
	chunker *chunker
	sums    *fileSums
	hash    hash.Hash // of the current file, where sums are not used
	check   uint64    // CRC of the current file, as tar-split wants it
	split   *metaFrame
	packer  storage.Packer

	// Of the goroutine that gets the frames, then of encode.
	out    *digestWriter
	chunks []chunkRecord // of the current file
	toc    *tocWriter
	files  spec.FileTable
}

func newChunkedStream(out *digestWriter, mean int, sums *fileSums) (*chunkedStream, error) {
	toc, err := newTOCWriter()
	if err != nil {
		return nil, err
	}
	split, err := newMetaFrame()
	if err != nil {
		return nil, err
	}
	return &chunkedStream{
		out: out, chunker: newChunker(mean), toc: toc,
		sums: sums, hash: sha256.New(),
		split: split, packer: storage.NewJSONPacker(split),
		files: spec.FileTable{Version: spec.FileTableVersion, Files: []spec.FileTableEntry{}},
	}, nil
}

// encode reads the whole tar stream and writes the blob.
func (c *chunkedStream) encode(r io.Reader) (map[string]string, error) {
	var err error
	if c.frames, err = newFrameWriter(c.chunker.max, c.put); err != nil {
		return nil, err
	}
	err = c.cut(&tarScanner{r: r})
	if cerr := c.frames.close(); cerr != nil {
		err = cerr // what cut noticed of it is less
	}
	if err != nil {
		return nil, err
	}
	return c.tables()
}

// cut sends the stream to the frames, piece by piece.
func (c *chunkedStream) cut(scan *tarScanner) error {
	for {
		h, err := scan.next()
		if err != nil && err != io.EOF {
			return err
		}
		if err := c.segment(scan.rawBytes()); err != nil {
			return err
		}
		if h == nil {
			break
		}
		if err := c.member(h, scan); err != nil {
			return err
		}
	}
	if err := scan.drain(writerFunc(c.segment)); err != nil {
		return err
	}
	return c.flush()
}

// segment takes bytes of the tar stream that are no content.
func (c *chunkedStream) segment(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := c.packer.AddEntry(storage.Entry{Type: storage.SegmentType, Payload: b}); err != nil {
		return err
	}
	c.pending = append(c.pending, b...)
	if len(c.pending) >= pendingMax {
		return c.flush()
	}
	return nil
}

// flush sends the pending headers as one frame.
func (c *chunkedStream) flush() error {
	if len(c.pending) == 0 {
		return nil
	}
	f, err := c.frames.begin()
	if err != nil {
		return err
	}
	f.data, f.content = append(f.data, c.pending...), false
	c.pending = c.pending[:0]
	c.frames.send(f)
	return nil
}

// member sends the content of one tar entry and notes it in the tables.
func (c *chunkedStream) member(h *tar.Header, content io.Reader) error {
	e := newTOCEntry(h)
	file := storage.Entry{Type: storage.FileType, Size: h.Size}
	file.SetName(h.Name)
	if h.Size > 0 {
		if err := c.flush(); err != nil {
			return err
		}
		if err := c.content(&e, content); err != nil {
			return err
		}
		file.Payload = binary.BigEndian.AppendUint64(nil, c.check)
	}
	c.frames.mark(&e)
	_, err := c.packer.AddEntry(file)
	return err
}

// content sends the chunks of one file.
func (c *chunkedStream) content(e *tocEntry, r io.Reader) error {
	c.hash.Reset()
	c.check = 0
	whole := false
	for {
		data, err := c.chunker.next(r)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		f, err := c.frames.begin()
		if err != nil {
			return err
		}
		f.data, f.content = append(f.data, data...), true
		c.frames.send(f)
		c.check = updateCRC(c.check, data)
		if whole = int64(len(data)) == e.Size; !whole && !c.sums.used {
			c.hash.Write(data)
		}
	}
	return c.fileSum(e, whole)
}

// fileSum sets the digest of a file, whole if it is a single chunk: then the digest
// of that is known later.
func (c *chunkedStream) fileSum(e *tocEntry, whole bool) error {
	switch {
	case c.sums.used:
		sum, ok := <-c.sums.sums
		if !ok {
			return errAborted
		}
		e.Digest = sha256Digest(sum)
	case !whole:
		e.Digest = sha256Digest(c.hash.Sum(nil))
	}
	return nil
}

// put writes what comes out of the frames: the blob, and what its tables say.
func (c *chunkedStream) put(s frameStep) error {
	if s.entry != nil {
		return c.complete(s.entry)
	}
	if s.frame.content {
		c.chunks = append(c.chunks, chunkRecord{offset: c.out.size, size: int64(len(s.frame.data)), sum: s.frame.sum, zeros: s.frame.zeros})
	}
	_, err := c.out.Write(s.frame.out)
	return err
}

// complete writes an entry into the tables, whose content, if it has one, was put
// just before.
func (c *chunkedStream) complete(e *tocEntry) error {
	if n := len(c.chunks); n > 0 {
		e.Offset, e.EndOffset = c.chunks[0].offset, c.out.size
		if n == 1 {
			e.Digest = sha256Digest(c.chunks[0].sum[:])
		}
	}
	if e.Type == tocFile {
		path, err := spec.CleanTarName(e.Name)
		if err != nil {
			return err
		}
		c.files.Files = append(c.files.Files, spec.FileTableEntry{Path: path, Offset: e.Offset, End: e.EndOffset})
	}
	err := c.toc.add(*e, c.chunks)
	c.chunks = c.chunks[:0]
	return err
}

// tables writes everything behind the data.
func (c *chunkedStream) tables() (map[string]string, error) {
	if err := c.split.Close(); err != nil {
		return nil, err
	}
	if err := c.toc.finish(c.split.digest()); err != nil {
		return nil, err
	}
	c.files.TarSplit = c.split.digest()
	files, err := encodeFileTable(c.files)
	if err != nil {
		return nil, err
	}
	var at [3]Table
	for i, f := range []*metaFrame{c.toc.frame, files, c.split} {
		if at[i], err = f.writeTo(c.out, c.out.size); err != nil {
			return nil, err
		}
	}
	toc, table, split := at[0], at[1], at[2]
	if err := writeSkippable(c.out, footer(toc, split)); err != nil {
		return nil, err
	}
	return map[string]string{
		AnnotationTOCDigest:              toc.Digest.String(),
		AnnotationTOCPosition:            toc.String() + ":1",
		AnnotationTarSplitPosition:       split.String(),
		spec.AnnotationFileTablePosition: table.String(),
		spec.AnnotationFileTableDigest:   table.Digest.String(),
	}, nil
}

type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}
