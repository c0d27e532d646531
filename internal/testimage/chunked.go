package testimage

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Chunked says that a layer is zstd:chunked, and how its tables lie. The zero
// value of each edit leaves a table honest.
type Chunked struct {
	Size  int    // bytes of a chunk
	TOC   []Edit // of the table of contents
	Files []Edit // of the file table
	Split []Edit // of the tar-split, its lines as one array
	Bare  bool   // no file table, as other tools write it

	// Links has other targets of symbolic links for the tar-split.
	Links map[string]string
}

const (
	chunkedPrefix   = "io.github.containers.zstd-chunked."
	fileTablePrefix = LabelPrefix + "filetable."
)

// chunkedBlob is a blob that is being written.
type chunkedBlob struct {
	bytes.Buffer
	z           *zstd.Encoder
	annotations map[string]string
}

// frame appends a zstd frame.
func (b *chunkedBlob) frame(content []byte) { b.Write(b.z.EncodeAll(content, nil)) }

// table appends a table in a skippable frame, and says where it is.
func (b *chunkedBlob) table(content []byte) (position, digest string, numbers [3]int) {
	packed := b.z.EncodeAll(content, nil)
	// A buffer never fails.
	_ = writeSkippable(b, packed)
	numbers = [3]int{b.Len() - len(packed), len(packed), len(content)}
	return fmt.Sprintf("%d:%d:%d", numbers[0], numbers[1], numbers[2]), "sha256:" + hexOf("", packed), numbers
}

// writeChunked makes the blob of a zstd:chunked layer, and gives its annotations and
// its tar.
func (l Layer) writeChunked(v Vars) (blob []byte, annotations map[string]string, stream []byte, err error) {
	var whole bytes.Buffer
	if err := l.writeStream(&whole, v); err != nil {
		return nil, nil, nil, err
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, nil, nil, err
	}
	b := &chunkedBlob{z: z, annotations: map[string]string{}}
	if err := b.fill(*l.Chunked, l, whole.Bytes(), v); err != nil {
		return nil, nil, nil, fmt.Errorf("chunked: %w", err)
	}
	return b.Bytes(), b.annotations, whole.Bytes(), nil
}

func (b *chunkedBlob) fill(c Chunked, l Layer, stream []byte, v Vars) error {
	split, err := splitOf(l, c, v)
	if err != nil {
		return err
	}
	entries, files := []map[string]any{}, []map[string]any{}
	err = eachMember(stream, func(h *tar.Header, before, content []byte) {
		if len(before) > 0 {
			b.frame(before)
		}
		if h == nil {
			return
		}
		more := b.content(h, content, c.Size)
		entries = append(entries, more...)
		if h.Typeflag == tar.TypeReg {
			files = append(files, map[string]any{"path": h.Name, "offset": more[0]["offset"], "end": more[0]["endOffset"]})
		}
	})
	if err != nil {
		return err
	}
	if split, err = edited(split, c.Split, v); err != nil {
		return err
	}
	var lines []json.RawMessage
	if err := json.Unmarshal(split, &lines); err != nil {
		return err
	}
	var text bytes.Buffer
	for _, line := range lines {
		text.Write(line)
		text.WriteByte('\n')
	}
	packed := b.z.EncodeAll(text.Bytes(), nil)
	splitDigest := "sha256:" + hexOf("", packed)
	return b.tables(c, entries, files, text.Bytes(), splitDigest, v)
}

// tables appends the tables and the footer.
func (b *chunkedBlob) tables(c Chunked, entries, files []map[string]any, split []byte, splitDigest string, v Vars) error {
	toc, err := editedValue(map[string]any{"version": 1, "entries": entries, "tarSplitDigest": splitDigest}, c.TOC, v)
	if err != nil {
		return fmt.Errorf("toc: %w", err)
	}
	table, err := editedValue(map[string]any{"version": 1, "files": files, "tarSplitDigest": splitDigest}, c.Files, v)
	if err != nil {
		return fmt.Errorf("files: %w", err)
	}
	position, digest, first := b.table(toc)
	b.annotations[chunkedPrefix+"manifest-position"], b.annotations[chunkedPrefix+"manifest-checksum"] = position+":1", digest
	if !c.Bare {
		b.annotations[fileTablePrefix+"position"], b.annotations[fileTablePrefix+"digest"], _ = b.table(table)
	}
	position, _, second := b.table(split)
	b.annotations[chunkedPrefix+"tarsplit-position"] = position
	var foot []byte
	for _, n := range []int{first[0], first[1], first[2], 1, second[0], second[1], second[2]} {
		foot = binary.LittleEndian.AppendUint64(foot, uint64(n))
	}
	return writeSkippable(b, append(foot, "GNUlInUx"...))
}

// content appends the chunks of a file and gives its entries in the table of
// contents.
func (b *chunkedBlob) content(h *tar.Header, content []byte, size int) []map[string]any {
	kind := map[byte]string{tar.TypeReg: "reg", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hardlink"}[h.Typeflag]
	first := map[string]any{"type": kind, "name": h.Name, "size": h.Size}
	if kind == "reg" {
		first["offset"], first["endOffset"] = 0, 0
	}
	if len(content) == 0 {
		return []map[string]any{first}
	}
	entries := []map[string]any{first}
	first["digest"], first["offset"] = "sha256:"+hexOf("", content), b.Len()
	for at := 0; at < len(content); at += size {
		chunk := content[at:min(at+size, len(content))]
		e := first
		if at > 0 {
			e = map[string]any{"type": "chunk", "name": h.Name, "offset": b.Len(), "chunkOffset": at}
			entries = append(entries, e)
		}
		if len(content) > size {
			e["chunkSize"], e["chunkDigest"] = len(chunk), "sha256:"+hexOf("", chunk)
		}
		b.frame(chunk)
	}
	first["endOffset"] = b.Len()
	return entries
}

// eachMember calls f for each member of a tar stream with what stands before its
// content, and at the end without a member.
func eachMember(stream []byte, f func(h *tar.Header, before, content []byte)) error {
	in := bytes.NewReader(stream)
	r := tar.NewReader(in)
	last := 0
	for {
		h, err := r.Next()
		if err == io.EOF {
			f(nil, stream[last:], nil)
			return nil
		}
		if err != nil {
			return err
		}
		at := len(stream) - in.Len()
		end := at
		if h.Typeflag == tar.TypeReg {
			end += int(h.Size)
		}
		f(h, stream[last:at], stream[at:end])
		last = end
	}
}

// splitOf makes the tar-split as an array, of the layer or of one with other links.
func splitOf(l Layer, c Chunked, v Vars) ([]byte, error) {
	entries := append([]Entry(nil), l.Entries...)
	for i, e := range entries {
		if target, ok := c.Links[e.Name.String(v)]; ok {
			entries[i].Link = Text(target)
		}
	}
	var stream bytes.Buffer
	if err := writeTar(&stream, v, entries); err != nil {
		return nil, err
	}
	lines := []map[string]any{}
	err := eachMember(stream.Bytes(), func(h *tar.Header, before, content []byte) {
		lines = append(lines, map[string]any{"type": 2, "payload": before})
		if len(content) > 0 {
			lines = append(lines, map[string]any{"type": 1, "name": h.Name, "size": len(content)})
		}
	})
	if err != nil {
		return nil, err
	}
	return marshal(lines)
}

func editedValue(value any, edits []Edit, v Vars) ([]byte, error) {
	body, err := marshal(value)
	if err != nil {
		return nil, err
	}
	return edited(body, edits, v)
}

func edited(body []byte, edits []Edit, v Vars) ([]byte, error) {
	if len(edits) == 0 {
		return body, nil
	}
	return applyEdits(body, edits, v)
}
