package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/nbpack/nbpack/spec"
)

// addFile notes where the content of a regular file lies.
func (c *chunkedStream) addFile(e TOCEntry) error {
	path, err := spec.CleanTarName(e.Name)
	if err != nil {
		return err
	}
	c.files.Files = append(c.files.Files, spec.FileTableEntry{Path: path, Offset: e.Offset, End: e.EndOffset})
	return nil
}

func encodeFileTable(t spec.FileTable) (*metaFrame, error) {
	f, err := newMetaFrame()
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(f).Encode(t); err != nil {
		return nil, fmt.Errorf("encode file table: %w", err)
	}
	return f, f.Close()
}

// DecodeFileTable reads the file table of a layer: frame is the content of its
// skippable frame, p the parsed position annotation and blobSize the size of the
// blob. The caller has compared the digest of frame with its annotation.
func DecodeFileTable(frame []byte, p spec.FileTablePosition, blobSize int64) (*spec.FileTable, error) {
	z, err := zstd.NewReader(bytes.NewReader(frame),
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
	if err != nil {
		return nil, fmt.Errorf("start zstd decoder: %w", err)
	}
	defer z.Close()
	bound := min(p.Uncompressed, spec.MaxFileTableSize)
	b, err := io.ReadAll(io.LimitReader(z, bound+1))
	if err != nil {
		return nil, spec.Refuse(spec.RuleFileTable, "", "file table is not a valid zstd stream: %w", err)
	}
	if int64(len(b)) != p.Uncompressed {
		return nil, spec.Refuse(spec.RuleFileTable, "", "file table does not have the %d bytes that its position says", p.Uncompressed)
	}
	return spec.ParseFileTable(b, blobSize)
}
