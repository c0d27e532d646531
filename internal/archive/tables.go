package archive

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer annotations of zstd:chunked, as containers/storage reads them. Positions
// are decimal and separated by colons: offset of the content of the frame, its
// length, its length when decompressed; for the table of contents also its type, 1.
const (
	AnnotationTOCDigest        = "io.github.containers.zstd-chunked.manifest-checksum"
	AnnotationTOCPosition      = "io.github.containers.zstd-chunked.manifest-position"
	AnnotationTarSplitPosition = "io.github.containers.zstd-chunked.tarsplit-position"
)

// Table says where one table of a zstd:chunked layer lies. A table that the layer
// does not have is the zero value.
type Table struct {
	Offset, Length int64         // the content of its skippable frame in the blob, in bytes
	Plain          int64         // bytes after decompression
	Digest         digest.Digest // of the content as it lies in the blob; empty where it is not known yet
}

// Present tells whether the layer has the table.
func (t Table) Present() bool { return t.Length > 0 }

// String is the form of position annotations.
func (t Table) String() string {
	return strconv.FormatInt(t.Offset, 10) + ":" + strconv.FormatInt(t.Length, 10) + ":" + strconv.FormatInt(t.Plain, 10)
}

// Read takes the content of the table's frame from r, which stands at its offset,
// and compares it with the digest, if that is known. What is too short or wrong
// gives a *[spec.Refusal].
func (t Table) Read(r io.Reader) ([]byte, error) {
	b := make([]byte, t.Length)
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return nil, refuseTable("table has %d of the %d bytes that its position says", n, t.Length)
	}
	if err != nil {
		return nil, err
	}
	if t.Digest != "" && t.Digest.Algorithm().FromBytes(b) != t.Digest {
		return nil, spec.Refuse(spec.RuleDigest, "", "table does not have the digest %s", t.Digest)
	}
	return b, nil
}

// Tables are the tables of a layer. The digest of the tar-split is not in the
// annotations: the table of contents tells it, and so does a file table.
type Tables struct{ TOC, FileTable, TarSplit Table }

// LayerTables reads from the annotations of a layer which tables it has and where.
// All that are there lie inside the blob and keep the bounds of package spec.
// Annotations that break that give a *[spec.Refusal]. A layer that is not zstd has
// no tables, whatever its annotations say.
func LayerTables(d ocispec.Descriptor) (Tables, error) {
	var t Tables
	if codec, err := spec.LayerCodec(d.MediaType); err != nil || codec != spec.CodecZstd {
		return t, err
	}
	if d.Size < 0 {
		return t, spec.Refuse(spec.RuleDescriptor, "", "negative size %d", d.Size)
	}
	toc, err := chunkTable(d, AnnotationTOCPosition, spec.MaxTOCSize, ":1")
	if err != nil {
		return Tables{}, err
	}
	sum := d.Annotations[AnnotationTOCDigest]
	if toc.Present() != (sum != "") {
		return Tables{}, refuseTable("position and digest of the table of contents do not go together")
	}
	if toc.Present() {
		if toc.Digest, err = spec.ParseDigest(sum); err != nil {
			return Tables{}, err
		}
	}
	split, err := chunkTable(d, AnnotationTarSplitPosition, spec.MaxTarSplitSize, "")
	if err != nil {
		return Tables{}, err
	}
	files, err := fileTable(d)
	if err != nil {
		return Tables{}, err
	}
	return Tables{TOC: toc, FileTable: files, TarSplit: split}, nil
}

// chunkTable reads the position of a table of containers/storage, which may be
// followed by its type.
func chunkTable(d ocispec.Descriptor, key string, maxPlain int64, suffix string) (Table, error) {
	value, ok := d.Annotations[key]
	if !ok {
		return Table{}, nil
	}
	text, ok := strings.CutSuffix(value, suffix)
	fields := strings.Split(text, ":")
	if !ok || len(fields) != 3 {
		return Table{}, spec.Refuse(spec.RuleChunkTable, key, "%.100q is not a position", value)
	}
	var n [3]int64
	for i, f := range fields {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil || v <= 0 || strconv.FormatInt(v, 10) != f {
			return Table{}, spec.Refuse(spec.RuleChunkTable, key, "%.30q is not a number of bytes", f)
		}
		n[i] = v
	}
	t := Table{Offset: n[0], Length: n[1], Plain: n[2]}
	if t.Length > spec.MaxTableSize || t.Plain > maxPlain {
		return Table{}, spec.Refuse(spec.RuleChunkTable, key, "the table is larger than its bound")
	}
	if t.Offset > d.Size-t.Length {
		return Table{}, spec.Refuse(spec.RuleChunkTable, key, "the table does not lie in the blob of %d bytes", d.Size)
	}
	return t, nil
}

// fileTable reads the annotations of our own table.
func fileTable(d ocispec.Descriptor) (Table, error) {
	position, ok := d.Annotations[spec.AnnotationFileTablePosition]
	sum, also := d.Annotations[spec.AnnotationFileTableDigest]
	if ok != also {
		return Table{}, spec.Refuse(spec.RuleFileTable, "", "position and digest of the file table do not go together")
	}
	if !ok {
		return Table{}, nil
	}
	p, err := spec.ParseFileTablePosition(position, d.Size)
	if err != nil {
		return Table{}, err
	}
	t := Table{Offset: p.Offset, Length: p.Length, Plain: p.Uncompressed}
	t.Digest, err = spec.ParseDigest(sum)
	return t, err
}

// plainTable streams the decompressed content of a table: exactly t.Plain bytes,
// anything else is an error made by refuse.
type plainTable struct {
	z      *zstd.Decoder
	left   int64
	refuse func(format string, args ...any) error
}

func openTable(frame []byte, t Table, refuse func(format string, args ...any) error) (*plainTable, error) {
	if t.Plain < 0 {
		return nil, refuse("a table cannot have %d bytes", t.Plain)
	}
	z, err := newZstdDecoder(bytes.NewReader(frame))
	if err != nil {
		return nil, refuse("start zstd decoder: %w", err)
	}
	return &plainTable{z: z, left: t.Plain, refuse: refuse}, nil
}

func (p *plainTable) Read(b []byte) (int, error) {
	// One byte more than allowed is asked for, to tell the end from an excess.
	if int64(len(b)) > p.left {
		b = b[:p.left+1]
	}
	n, err := p.z.Read(b)
	if int64(n) > p.left {
		return int(p.left), p.refuse("the table has more bytes than its position says")
	}
	p.left -= int64(n)
	if err == io.EOF && p.left > 0 {
		return n, p.refuse("the table has %d bytes less than its position says", p.left)
	}
	if err != nil && err != io.EOF {
		return n, p.refuse("the table is not a valid zstd stream: %w", err)
	}
	return n, err
}

func (p *plainTable) Close() { p.z.Close() }

func refuseTable(format string, args ...any) error {
	return spec.Refuse(spec.RuleChunkTable, "", format, args...)
}
