package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrWrongSize says that a file at hand does not have the size that it has in the
// layer, so it cannot be the same.
var ErrWrongSize = errors.New("file does not have the size that it has in the layer")

// TarSplit is the tar stream of a layer without the contents of its files: who has
// these can have the stream again, and so prove the diff ID of a layer of which
// only parts were fetched. It is kept compressed and read as a stream, twice.
type TarSplit struct {
	frame   []byte
	table   Table
	size    int64
	entries []spec.Entry
}

// DecodeTarSplit reads the tar-split of the layer that desc describes; frame is what
// [Table.Read] gave for t, layer the index in the manifest for the entries.
//
// The headers are judged exactly as a [LayerReader] judges them, and so is the size
// of the whole stream; what it would refuse gives a *[spec.Refusal]. So does a
// tar-split whose contents are not where its headers want them.
func DecodeTarSplit(ctx context.Context, frame []byte, t Table, desc ocispec.Descriptor, layer int) (*TarSplit, error) {
	bound, declared, err := spec.LayerBound(desc)
	if err != nil {
		return nil, err
	}
	s := &TarSplit{frame: frame, table: t}
	w, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer w.close()
	stream := &splitStream{walk: w, left: bound}
	if err := s.scan(stream, layer); err != nil {
		return nil, fmt.Errorf("read tar-split of layer %d: %w", layer, err)
	}
	if declared && stream.left > 0 {
		return nil, spec.Refuse(spec.RuleLayerSize, "", "layer %d is %d bytes shorter than it declares", layer, stream.left)
	}
	s.size = bound - stream.left
	return s, nil
}

// scan walks the headers.
func (s *TarSplit) scan(stream *splitStream, layer int) error {
	check := entryCheck{layer: layer}
	scan := &tarScanner{r: stream, skip: stream.skip}
	for {
		h, err := scan.next()
		if err == io.EOF {
			return scan.drain(io.Discard)
		}
		if err != nil {
			return err
		}
		e, err := check.entry(h, stream.left)
		if err != nil {
			return err
		}
		s.entries = append(s.entries, e)
	}
}

// Entries lists what the layer holds, in the order of the tar, as [LayerReader.Next]
// would have given it. The caller must not change the list.
func (s *TarSplit) Entries() []spec.Entry { return s.entries }

// Size is the length of the tar stream in bytes.
func (s *TarSplit) Size() int64 { return s.size }

// Reassemble makes the tar stream again and returns its digest, which is the diff ID
// of the layer if all contents are right.
//
// For every regular file that is not empty, in the order of the tar, open must give
// its content; it is closed before the next one is opened. A content that is longer
// or shorter than e.Size gives [ErrWrongSize]. After each regular file, also an empty
// one, done gets its entry with the SHA-256 of what was read; an error of open or
// done ends the work.
//
// The files are read in the goroutine of the caller, while another one computes the
// digests; it has ended when Reassemble returns.
func (s *TarSplit) Reassemble(ctx context.Context, open func(spec.Entry) (io.ReadCloser, error), done func(spec.Entry) error) (digest.Digest, error) {
	w, err := s.open(ctx)
	if err != nil {
		return "", err
	}
	defer w.close()
	r := reassembly{ctx: ctx, stream: newPipe(digestOnly), open: open, done: done}
	r.sum.pipe = r.stream
	err = r.run(w, s.entries)
	r.stream.closeWrite(err)
	sum := r.stream.digest()
	if err != nil {
		return "", err
	}
	return sum, nil
}

type reassembly struct {
	ctx    context.Context
	stream *pipe
	sum    contentSum
	open   func(spec.Entry) (io.ReadCloser, error)
	done   func(spec.Entry) error
}

func (r *reassembly) run(w *splitWalk, entries []spec.Entry) error {
	for {
		item, err := w.next()
		if err != nil && err != io.EOF {
			return err
		}
		// The walk of DecodeTarSplit has paired contents and headers: what comes
		// before the next content are entries without any.
		for len(entries) > 0 && (err == io.EOF || item.size > 0) {
			e := entries[0]
			entries = entries[1:]
			if e.Type != spec.TypeFile {
				continue
			}
			if err := r.file(e); err != nil {
				return err
			}
			if e.Size > 0 {
				break
			}
		}
		if err == io.EOF {
			return nil
		}
		if _, err := r.stream.Write(item.segment); err != nil {
			return err
		}
	}
}

// file puts the content of one file into the stream.
func (r *reassembly) file(e spec.Entry) error {
	r.sum.begin(e.Size)
	if e.Size > 0 {
		if err := r.content(e); err != nil {
			return err
		}
	}
	r.sum.end()
	e.SHA256 = r.sum.hex()
	return r.done(e)
}

func (r *reassembly) content(e spec.Entry) (err error) {
	f, err := r.open(e)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close %q: %w", e.Path, cerr)
		}
	}()
	source := &blobReader{ctx: r.ctx, r: f}
	n, err := r.stream.ReadFrom(io.TeeReader(io.LimitReader(source, e.Size), &r.sum))
	if err != nil {
		return fmt.Errorf("read %q: %w", e.Path, err)
	}
	if n == e.Size {
		err = expectEOF(source)
	}
	if n < e.Size || errors.Is(err, ErrSourceChanged) {
		return fmt.Errorf("%q: %w (%d bytes)", e.Path, ErrWrongSize, e.Size)
	}
	if err != nil {
		return fmt.Errorf("read %q: %w", e.Path, err)
	}
	return nil
}

// splitWalk reads the items of a tar-split: JSON documents, one on each line.
type splitWalk struct {
	ctx   context.Context
	plain *plainTable
	lines *bufio.Scanner
}

// splitItem is a piece of the tar stream that is no content, or the size of a
// content.
type splitItem struct {
	segment []byte
	size    int64
}

// Types of items, as vbatts/tar-split numbers them.
const (
	splitFile    = 1
	splitSegment = 2
)

func (s *TarSplit) open(ctx context.Context) (*splitWalk, error) {
	plain, err := openTable(s.frame, s.table, refuseTable)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(plain)
	lines.Buffer(make([]byte, 64<<10), maxValue)
	return &splitWalk{ctx: ctx, plain: plain, lines: lines}, nil
}

func (w *splitWalk) close() { w.plain.Close() }

// next gives the next item, or io.EOF.
func (w *splitWalk) next() (splitItem, error) {
	if err := context.Cause(w.ctx); err != nil {
		return splitItem{}, err
	}
	if !w.lines.Scan() {
		err := w.lines.Err()
		switch {
		case err == nil:
			err = io.EOF
		case errors.Is(err, bufio.ErrTooLong):
			err = refuseTable("an item of the tar-split is longer than %d bytes", maxValue)
		}
		return splitItem{}, err
	}
	// Names and checksums of contents are not used: the headers have the names, and
	// the diff ID tells more than a checksum.
	var line struct {
		Type    int    `json:"type"`
		Size    int64  `json:"size"`
		Payload []byte `json:"payload"`
	}
	if err := spec.UnmarshalStrict(w.lines.Bytes(), &line); err != nil {
		return splitItem{}, refuseTable("tar-split: %w", err)
	}
	switch {
	case line.Type == splitSegment && line.Size == 0:
		return splitItem{segment: line.Payload}, nil
	case line.Type == splitFile && line.Size >= 0:
		return splitItem{size: line.Size}, nil
	}
	return splitItem{}, refuseTable("tar-split has an item of type %d and size %d", line.Type, line.Size)
}

// splitStream reads the tar stream up to each content, and skips that.
type splitStream struct {
	walk *splitWalk
	rest []byte // of the current segment
	left int64  // bytes that the stream may still have
}

func (s *splitStream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		item, err := s.walk.next()
		if err != nil {
			return 0, err
		}
		if item.size > 0 {
			return 0, refuseTable("tar-split has the content of a file where the tar has none")
		}
		s.rest = item.segment
	}
	if int64(len(s.rest)) > s.left {
		return 0, spec.Refuse(spec.RuleLayerSize, "", "the layer unpacks to more than its bound")
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	s.left -= int64(n)
	return n, nil
}

// skip stands for the content of size bytes that the last header announced.
func (s *splitStream) skip(size int64) error {
	for len(s.rest) == 0 && size > 0 {
		item, err := s.walk.next()
		if err != nil {
			return truncated(err)
		}
		s.rest = item.segment
		if item.size == size {
			s.left -= size
			return nil
		}
		if item.size > 0 {
			break
		}
	}
	return refuseTable("tar-split does not have the %d bytes of a file where the tar has them", size)
}
