package spec

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// FileTableVersion is the version of the file table that this package knows.
const FileTableVersion = 1

// FileTable says where the regular files of a zstd:chunked layer lie in its
// blob, so that a client can fetch whole files by range without the chunk lists.
type FileTable struct {
	Version int              `json:"version"`
	Files   []FileTableEntry `json:"files"`
	// TarSplit is the digest of the layer's tar-split as it lies in the blob;
	// empty where the table does not say.
	TarSplit digest.Digest `json:"tarSplitDigest,omitempty"`
}

// FileTableEntry is one regular file: its zstd frames are the bytes of the blob
// from Offset up to, not including, End. For an empty file the two are equal.
type FileTableEntry struct {
	Path   string `json:"path"`
	Offset int64  `json:"offset"`
	End    int64  `json:"end"`
}

// ParseFileTable decodes the (decompressed) JSON of a file table. blobSize is
// the size of the layer blob in bytes. Accepted entries have permitted paths,
// none twice; their ranges lie inside the blob, ascend and do not overlap.
func ParseFileTable(b []byte, blobSize int64) (*FileTable, error) {
	if len(b) > MaxFileTableSize {
		return nil, Refuse(RuleDocumentSize, "", "file table of %d bytes is larger than %d", len(b), MaxFileTableSize)
	}
	var t FileTable
	if err := UnmarshalStrict(b, &t); err != nil {
		return nil, Refuse(RuleFileTable, "", "file table: %s", why(err))
	}
	if t.Version != FileTableVersion {
		return nil, Refuse(RuleFileTable, "", "file table has version %d, not %d", t.Version, FileTableVersion)
	}
	if len(t.Files) > MaxEntries {
		return nil, Refuse(RuleFileTable, "", "file table has more than %d files", MaxEntries)
	}
	if t.TarSplit != "" {
		if _, err := ParseDigest(t.TarSplit.String()); err != nil {
			return nil, Refuse(RuleFileTable, "", "file table: %s", why(err))
		}
	}
	if err := t.check(blobSize); err != nil {
		return nil, err
	}
	return &t, nil
}

func (t *FileTable) check(blobSize int64) error {
	seen := make(map[string]bool)
	var reached int64 // end of the last file that is not empty
	for _, f := range t.Files {
		if err := CheckPath(f.Path); err != nil {
			return Refuse(RuleFileTable, "", "file table: %s", why(err))
		}
		key := FoldKey(f.Path)
		if seen[key] {
			return Refuse(RuleFileTable, f.Path, "file table has the path twice")
		}
		seen[key] = true
		if f.Offset < 0 || f.End < f.Offset || f.End > blobSize {
			return Refuse(RuleFileTable, f.Path, "range %d-%d does not lie in the blob of %d bytes", f.Offset, f.End, blobSize)
		}
		if f.Offset == f.End {
			continue
		}
		if f.Offset < reached {
			return Refuse(RuleFileTable, f.Path, "range %d-%d overlaps the file before it", f.Offset, f.End)
		}
		reached = f.End
	}
	return nil
}

// FileTablePosition says where the content of the file table's skippable frame
// lies in the blob (all in bytes).
type FileTablePosition struct {
	Offset       int64 // first byte of the content, behind the 8 bytes of frame header
	Length       int64 // bytes of the content, compressed
	Uncompressed int64 // bytes of the JSON document
}

// String gives the value of AnnotationFileTablePosition.
func (p FileTablePosition) String() string {
	return fmt.Sprintf("%d:%d:%d", p.Offset, p.Length, p.Uncompressed)
}

// ParseFileTablePosition reads the value of AnnotationFileTablePosition.
// Accepted positions lie inside a blob of blobSize bytes and keep
// MaxFileTableSize.
func ParseFileTablePosition(s string, blobSize int64) (FileTablePosition, error) {
	fields := strings.Split(s, ":")
	if len(fields) != 3 {
		return FileTablePosition{}, Refuse(RuleFileTable, AnnotationFileTablePosition, "%q is not offset:length:uncompressed-length", shorten(s))
	}
	var n [3]int64
	for i, f := range fields {
		var err error
		if n[i], err = parseDecimal(f); err != nil {
			return FileTablePosition{}, Refuse(RuleFileTable, AnnotationFileTablePosition, "%q is not a number of bytes", shorten(f))
		}
	}
	p := FileTablePosition{Offset: n[0], Length: n[1], Uncompressed: n[2]}
	if p.Length > MaxFileTableSize || p.Uncompressed > MaxFileTableSize {
		return FileTablePosition{}, Refuse(RuleFileTable, AnnotationFileTablePosition, "file table is larger than %d bytes", MaxFileTableSize)
	}
	if p.Offset > blobSize-p.Length {
		return FileTablePosition{}, Refuse(RuleFileTable, AnnotationFileTablePosition, "file table does not lie in the blob of %d bytes", blobSize)
	}
	return p, nil
}
