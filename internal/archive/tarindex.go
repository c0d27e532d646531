package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/vbatts/tar-split/tar/storage"
)

// scanBlock is how much of a plain layer is read at once where headers are expected:
// enough for many small files, little beside the smallest content that is skipped.
const scanBlock = 32 << 10

// ScanTar finds the files of a plain tar layer without reading their contents, and
// keeps the rest of the stream: what a zstd:chunked layer brings in tables, made from
// the headers. It reads blob, which desc describes, in few pieces of at most 32 KiB;
// behind a content they begin at its end. Errors are those of [DecodeTarSplit] and
// of blob.
//
// The ranges that it returns are for the regular files of the tar-split, in the same
// order: content that is not compressed.
func ScanTar(ctx context.Context, blob io.ReaderAt, desc ocispec.Descriptor, layer int) (*TarSplit, []spec.FileTableEntry, error) {
	codec, err := spec.LayerCodec(desc.MediaType)
	if err != nil {
		return nil, nil, err
	}
	if codec != spec.CodecNone {
		return nil, nil, spec.Refuse(spec.RuleLayerType, "", "layer %d is %s and no plain tar", layer, codec)
	}
	frame, err := newMetaFrame()
	if err != nil {
		return nil, nil, err
	}
	x := &tarIndex{
		blob:   headerReader{ctx: ctx, blob: blob, size: desc.Size},
		check:  entryCheck{layer: layer},
		frame:  frame,
		packer: storage.NewJSONPacker(frame),
	}
	err = x.walk()
	if cerr := frame.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read headers of layer %d: %w", layer, err)
	}
	split, err := DecodeTarSplit(ctx, frame.data.Bytes(), frame.table(0), desc, layer)
	return split, x.files, err
}

// tarIndex collects what ScanTar finds.
type tarIndex struct {
	blob   headerReader
	check  entryCheck
	frame  *metaFrame
	packer storage.Packer
	files  []spec.FileTableEntry
}

func (x *tarIndex) walk() error {
	scan := &tarScanner{r: &x.blob, skip: x.blob.skip}
	for {
		h, err := scan.next()
		if err != nil && err != io.EOF {
			return err
		}
		if err := x.segment(scan.rawBytes()); err != nil {
			return err
		}
		if h == nil {
			return scan.drain(writerFunc(x.segment))
		}
		e, err := x.check.entry(h, x.blob.size-x.blob.at)
		if err != nil {
			return err
		}
		if e.Type != spec.TypeFile {
			continue
		}
		x.files = append(x.files, spec.FileTableEntry{Path: e.Path, Offset: x.blob.at, End: x.blob.at + e.Size})
		if err := x.content(e); err != nil {
			return err
		}
	}
}

func (x *tarIndex) segment(b []byte) error {
	if x.frame.size > spec.MaxTarSplitSize {
		return spec.Refuse(spec.RuleEntryCount, "", "more than %d bytes of headers", spec.MaxTarSplitSize)
	}
	_, err := x.packer.AddEntry(storage.Entry{Type: storage.SegmentType, Payload: b})
	return err
}

func (x *tarIndex) content(e spec.Entry) error {
	if e.Size == 0 {
		return nil
	}
	_, err := x.packer.AddEntry(storage.Entry{Type: storage.FileType, Name: e.Path, Size: e.Size})
	if errors.Is(err, storage.ErrDuplicatePath) {
		err = spec.Refuse(spec.RulePathTwice, e.Path, "the path occurs twice")
	}
	return err
}

// headerReader reads a blob in pieces and leaves out what is skipped.
type headerReader struct {
	ctx      context.Context
	blob     io.ReaderAt
	at, size int64
	rest     []byte // of the last piece, from at on
	piece    [scanBlock]byte
}

func (r *headerReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if err := context.Cause(r.ctx); err != nil {
			return 0, err
		}
		b := r.piece[:min(scanBlock, r.size-r.at)]
		if len(b) == 0 {
			return 0, io.EOF
		}
		if n, err := r.blob.ReadAt(b, r.at); n < len(b) {
			return 0, fmt.Errorf("read layer at %d: %w", r.at, noEOF(err))
		}
		r.rest = b
	}
	n := copy(p, r.rest)
	_ = r.skip(int64(n))
	return n, nil
}

func (r *headerReader) skip(n int64) error {
	r.at += n
	r.rest = r.rest[min(n, int64(len(r.rest))):]
	return nil
}
