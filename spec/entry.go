package spec

// EntryType is what a tar entry makes.
type EntryType string

// The types an entry may have. Everything else in a tar is refused.
const (
	TypeFile     EntryType = "file"
	TypeDir      EntryType = "dir"
	TypeSymlink  EntryType = "symlink"
	TypeHardlink EntryType = "hardlink"
)

// Entry is one entry of a layer.
type Entry struct {
	Layer  int       `json:"layer"`            // index into the manifest's layers, from 0
	Path   string    `json:"path"`             // clean path below the tree; "." for its root directory
	Type   EntryType `json:"type"`             // file, dir, symlink, hardlink
	Size   int64     `json:"size,omitempty"`   // bytes of a regular file
	SHA256 string    `json:"sha256,omitempty"` // lower-case hex of a regular file's content
	Target string    `json:"target,omitempty"` // of a symlink as written; of a hard link a clean path

	// What the header says besides, for lint alone: no consumer applies it.
	Mode    uint32 `json:"-"` // permission bits, with setuid, setgid and sticky as in tar
	UID     int    `json:"-"`
	GID     int    `json:"-"`
	ModTime int64  `json:"-"` // seconds since 1970
}
