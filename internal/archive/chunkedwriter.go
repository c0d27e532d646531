package archive

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"hash/crc64"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
	"github.com/vbatts/tar-split/tar/storage"
)

var errAborted = errors.New("layer was aborted")

// pendingMax bounds the headers that wait for one common frame.
const pendingMax = 256 << 10

// chunkedEncoder writes a zstd:chunked blob:
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
// The library's writer is not used because it keeps every chunk of the payload in
// memory and writes times of the table in the local time zone.
type chunkedEncoder struct {
	pipe        *io.PipeWriter
	done        chan struct{}
	annotations map[string]string // valid after done
	err         error             // valid after done
}

func newChunkedEncoder(blob *digestWriter, mean int) (*chunkedEncoder, error) {
	s, err := newChunkedStream(blob, mean)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	c := &chunkedEncoder{pipe: w, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.annotations, c.err = s.encode(r)
		r.CloseWithError(c.err)
	}()
	return c, nil
}

func (c *chunkedEncoder) Write(p []byte) (int, error) { return c.pipe.Write(p) }

func (c *chunkedEncoder) finish() (map[string]string, error) {
	c.pipe.Close()
	<-c.done
	return c.annotations, c.err
}

func (c *chunkedEncoder) abort() {
	c.pipe.CloseWithError(errAborted)
	<-c.done
}

// chunkedStream is the state of the one goroutine that encodes.
type chunkedStream struct {
	out     *digestWriter
	frames  *zstd.Encoder
	buf     []byte // last compressed frame
	pending []byte // headers and padding that wait for a frame
	chunker *chunker
	chunks  []chunkRecord // of the current file
	toc     *tocWriter
	files   spec.FileTable
	split   *metaFrame
	packer  storage.Packer
}

func newChunkedStream(out *digestWriter, mean int) (*chunkedStream, error) {
	c := newChunker(mean)
	frames, err := newZstdEncoder(nil, c.max)
	if err != nil {
		return nil, err
	}
	toc, err := newTOCWriter()
	if err != nil {
		return nil, err
	}
	split, err := newMetaFrame()
	if err != nil {
		return nil, err
	}
	return &chunkedStream{
		out: out, frames: frames, chunker: c, toc: toc,
		split: split, packer: storage.NewJSONPacker(split),
		files: spec.FileTable{Version: spec.FileTableVersion, Files: []spec.FileTableEntry{}},
	}, nil
}

// encode reads the whole tar stream and writes the blob.
func (c *chunkedStream) encode(r io.Reader) (map[string]string, error) {
	scan := &tarScanner{r: r}
	for {
		h, err := scan.next()
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err := c.segment(scan.rawBytes()); err != nil {
			return nil, err
		}
		if h == nil {
			break
		}
		if err := c.member(h, scan); err != nil {
			return nil, err
		}
	}
	if err := scan.drain(writerFunc(c.segment)); err != nil {
		return nil, err
	}
	if err := c.flush(); err != nil {
		return nil, err
	}
	return c.tables()
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

// flush writes the pending headers as one frame.
func (c *chunkedStream) flush() error {
	if len(c.pending) == 0 {
		return nil
	}
	err := c.frame(c.pending)
	c.pending = c.pending[:0]
	return err
}

// frame compresses data into one frame of its own.
func (c *chunkedStream) frame(data []byte) error {
	c.buf = c.frames.EncodeAll(data, c.buf[:0])
	_, err := c.out.Write(c.buf)
	return err
}

// member writes the content of one tar entry and its lines in the tables.
func (c *chunkedStream) member(h *tar.Header, content io.Reader) error {
	e := newTOCEntry(h)
	file := storage.Entry{Type: storage.FileType, Size: h.Size}
	file.SetName(h.Name)
	if h.Size > 0 {
		if err := c.flush(); err != nil {
			return err
		}
		e.Offset = c.out.size
		sum, crc, err := c.content(content)
		if err != nil {
			return err
		}
		e.EndOffset = c.out.size
		e.Digest = sha256Digest(sum)
		file.Payload = crc
	} else {
		c.chunks = c.chunks[:0]
	}
	if e.Type == tocFile {
		if err := c.addFile(e); err != nil {
			return err
		}
	}
	if _, err := c.packer.AddEntry(file); err != nil {
		return err
	}
	return c.toc.add(e, c.chunks)
}

// content writes the chunks of one file and returns its SHA-256 and the CRC-64
// by which tar-split recognises it.
func (c *chunkedStream) content(r io.Reader) (sum, crc []byte, err error) {
	c.chunks = c.chunks[:0]
	hash, check := sha256.New(), crc64.New(storage.CRCTable)
	for {
		data, err := c.chunker.next(r)
		if err == io.EOF {
			return hash.Sum(nil), check.Sum(nil), nil
		}
		if err != nil {
			return nil, nil, err
		}
		hash.Write(data)
		check.Write(data)
		c.chunks = append(c.chunks, chunkRecord{
			offset: c.out.size, size: int64(len(data)),
			sum: sha256.Sum256(data), zeros: isZero(data),
		})
		if err := c.frame(data); err != nil {
			return nil, nil, err
		}
	}
}

// tables writes everything behind the data.
func (c *chunkedStream) tables() (map[string]string, error) {
	if err := c.split.Close(); err != nil {
		return nil, err
	}
	if err := c.toc.finish(c.split.digest()); err != nil {
		return nil, err
	}
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
		AnnotationTOCDigest:              c.toc.frame.digest().String(),
		AnnotationTOCPosition:            toc.String() + ":1",
		AnnotationTarSplitPosition:       split.String(),
		spec.AnnotationFileTablePosition: table.String(),
		spec.AnnotationFileTableDigest:   files.digest().String(),
	}, nil
}

type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if err := f(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// addFile notes where the content of a regular file lies.
func (c *chunkedStream) addFile(e tocEntry) error {
	path, err := spec.CleanTarName(e.Name)
	if err != nil {
		return err
	}
	c.files.Files = append(c.files.Files, spec.FileTableEntry{Path: path, Offset: e.Offset, End: e.EndOffset})
	return nil
}
