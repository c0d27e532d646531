package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// tocEntry is one entry of the table of contents of a zstd:chunked layer, in the
// JSON that containers/storage defines.
//
// A regular file is one entry of type "reg", followed by one entry of type
// "chunk" for each further chunk; the Chunk fields are set only where a file has
// more than one. The bytes [Offset,EndOffset) of the blob are zstd frames that
// decompress to the content; a chunk ends where the next one begins.
type tocEntry struct {
	Type        string            `json:"type"`
	Name        string            `json:"name"`
	LinkName    string            `json:"linkName,omitempty"`
	Mode        int64             `json:"mode,omitempty"`
	Size        int64             `json:"size,omitempty"`
	UID         int               `json:"uid,omitempty"`
	GID         int               `json:"gid,omitempty"`
	ModTime     *time.Time        `json:"modtime,omitempty"`
	AccessTime  *time.Time        `json:"accesstime,omitempty"`
	ChangeTime  *time.Time        `json:"changetime,omitempty"`
	DevMajor    int64             `json:"devMajor,omitempty"`
	DevMinor    int64             `json:"devMinor,omitempty"`
	Xattrs      map[string]string `json:"xattrs,omitempty"`
	Digest      digest.Digest     `json:"digest,omitempty"`
	Offset      int64             `json:"offset,omitempty"`
	EndOffset   int64             `json:"endOffset,omitempty"`
	ChunkSize   int64             `json:"chunkSize,omitempty"`
	ChunkOffset int64             `json:"chunkOffset,omitempty"`
	ChunkDigest digest.Digest     `json:"chunkDigest,omitempty"`
	ChunkType   string            `json:"chunkType,omitempty"`
}

// Values of tocEntry.Type and tocEntry.ChunkType.
const (
	tocFile       = "reg"
	tocDir        = "dir"
	tocSymlink    = "symlink"
	tocHardlink   = "hardlink"
	tocChunk      = "chunk"
	tocChunkZeros = "zeros" // the chunk is a hole: nothing but zero bytes
)

// newTOCEntry repeats the fields of a tar header. Readers compare them with the
// header in tar-split and refuse a table that says something else.
func newTOCEntry(h *tar.Header) tocEntry {
	e := tocEntry{
		Name: h.Name, LinkName: h.Linkname, Mode: h.Mode, Size: h.Size,
		UID: h.Uid, GID: h.Gid, DevMajor: h.Devmajor, DevMinor: h.Devminor,
		ModTime: tocTime(h.ModTime), AccessTime: tocTime(h.AccessTime), ChangeTime: tocTime(h.ChangeTime),
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Type = tocFile
	case tar.TypeDir:
		e.Type = tocDir
	case tar.TypeSymlink:
		e.Type = tocSymlink
	case tar.TypeLink:
		e.Type = tocHardlink
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxXattr); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = base64.StdEncoding.EncodeToString([]byte(v))
		}
	}
	return e
}

// tocTime is in UTC, because the JSON form of a time names its zone.
func tocTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// TOC is what the table of contents of a zstd:chunked layer says about contents.
type TOC struct {
	Files    []ChunkedFile // the regular files in the order of the table, no path twice
	TarSplit digest.Digest // of the tar-split as it lies in the blob; empty where the table does not say
}

// ChunkedFile is one regular file and where its content lies in the blob.
type ChunkedFile struct {
	Path   string            // clean path below the tree
	Size   int64             // bytes
	SHA256 [sha256.Size]byte // of the content; zero for an empty file
	Chunks []Chunk           // the whole content in order; one where the file was not cut, none for an empty file
}

// Chunk is a piece of a file that is compressed by itself. Neighbouring chunks of a
// file are one range of the blob and one zstd stream.
type Chunk struct {
	Offset, End int64             // its zstd frames are the bytes [Offset,End) of the blob
	Size        int64             // bytes of content
	SHA256      [sha256.Size]byte // of the content
	Zeros       bool              // the table says that the content is zero bytes: nothing to fetch
}
