package archive

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/nbpack/nbpack/spec"
)

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

// DecodeFileTable reads the file table of a layer: frame is what [Table.Read] gave
// for t, blobSize the size of the blob in bytes. Of the table that it returns every
// range lies inside the blob, see [spec.ParseFileTable].
func DecodeFileTable(frame []byte, t Table, blobSize int64) (*spec.FileTable, error) {
	t.Plain = min(t.Plain, spec.MaxFileTableSize)
	r, err := openTable(frame, t, func(format string, args ...any) error {
		return spec.Refuse(spec.RuleFileTable, "", format, args...)
	})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return spec.ParseFileTable(b, blobSize)
}
