package bootdir

import (
	"encoding/json"
	"io"
	"time"

	"github.com/nbpack/nbpack/spec"
)

// LiveMode says what stands at a live path.
type LiveMode string

// The two forms of a live tree.
const (
	ModeDir  LiveMode = "dir"  // a real directory with real files, hard links of the generation's
	ModeLink LiveMode = "link" // a relative symbolic link to the generation
)

// ReadAtCloser is an open file of which pieces are read.
type ReadAtCloser interface {
	io.ReaderAt
	io.Closer
}

// FlatLive is the live path of the flat layout: the payload's top entries lie
// directly in the boot directory.
const FlatLive = "."

// Image holds the facts about one manifest. They are recorded once, under the
// digest; only what an index says of an artifact besides (its entrypoints, and so
// its links) may be another the next time.
type Image struct {
	Digest    string            `json:"digest"`             // of the platform's manifest, "sha256:…"
	MediaType string            `json:"mediaType"`          // of the manifest
	Manifest  []byte            `json:"manifest"`           // as received
	Config    []byte            `json:"config"`             // as received; empty for an artifact, whose manifest says all
	Platform  string            `json:"platform,omitempty"` // "linux/arm/v7"
	Labels    map[string]string `json:"labels,omitempty"`   // netboot labels, merged
	Policy    string            `json:"policy,omitempty"`   // under which it was installed, see Tree
	Evidence  json.RawMessage   `json:"evidence,omitempty"` // what was verified under it
	Created   *time.Time        `json:"created,omitempty"`  // as the config states it
	Layers    []Layer           `json:"layers,omitempty"`   // in the manifest's order

	// Sums is what SHA256SUM lists; an artifact may have none.
	Sums []spec.Sum `json:"sums,omitempty"`

	// Entries is the final tree: directories, regular files with size and
	// sha256, symbolic links. Hard links have become files. Commit sorts it
	// by path and adds parent directories that are not listed.
	Entries []spec.Entry `json:"entries"`
}

// Layer is what one layer held, so that a layer whose diff ID is recorded, or
// whose digest where it was no tar, need not be fetched again. Entries are the
// raw ones, with hard links.
type Layer struct {
	Digest    string       `json:"digest"`
	DiffID    string       `json:"diffID,omitempty"` // of a tar; empty for a layer that is one file, or nothing
	MediaType string       `json:"mediaType"`
	Size      int64        `json:"size"` // bytes of the blob
	Entries   []spec.Entry `json:"entries,omitempty"`
	Chunks    []ChunkList  `json:"chunks,omitempty"`
}

// ChunkList names a list that Dir.KeepChunks has kept of the chunks of files that
// a layer holds: its own table of contents, or that of an earlier layer with the
// same files.
type ChunkList struct {
	SHA256 string `json:"sha256"` // of the list as it is kept
	Plain  int64  `json:"plain"`  // bytes after decompression
	Blob   int64  `json:"blob"`   // bytes of the blob that it belongs to
}

// Tree is the record of one live tree. The caller fills the upper part; Commit
// fills Version, Attributes, Digest, Units, Files and History, and Live where it is empty, and sets Mode to what
// it really made.
type Tree struct {
	Reference   string            `json:"reference"`          // as the user named it
	Scheme      string            `json:"scheme,omitempty"`   // "https", "http", "" for local sources
	Layout      string            `json:"layout,omitempty"`   // template or preset
	Set         map[string]string `json:"set,omitempty"`      // labels set by the user
	Selection   Selection         `json:"selection"`          // what was asked for
	TagDigest   string            `json:"tagDigest"`          // what the reference named: index or manifest
	Platform    string            `json:"platform,omitempty"` // that was chosen
	Policy      string            `json:"policy,omitempty"`   // under which it was verified
	Evidence    json.RawMessage   `json:"evidence,omitempty"` // what was verified under it
	Created     *time.Time        `json:"created,omitempty"`  // of the image, to see downgrades
	Pinned      bool              `json:"pinned,omitempty"`   // by rollback, until unpin
	Catalog     string            `json:"catalog,omitempty"`  // that asked for the tree; empty for a pull
	Release     string            `json:"release,omitempty"`  // which entry of a catalog index it is
	Keep        int               `json:"keep,omitempty"`     // generations to keep of this tree; 0: as Options say
	Mode        LiveMode          `json:"mode"`               // wanted before Commit, real after it
	Menu        *MenuEntry        `json:"menu,omitempty"`
	Arrangement *Arrangement      `json:"arrangement,omitempty"` // what the tree shows; nil: the image as it is

	Version    int          `json:"version"`              // of the record's form
	Attributes *Attributes  `json:"attributes,omitempty"` // that the stage was told to Wear
	Live       string       `json:"live"`                 // slash path below the boot directory, FlatLive for flat
	Digest     string       `json:"digest"`               // of the manifest that is live
	Units      []string     `json:"units"`                // paths below the boot directory that are put in place by one rename each
	Files      []FileState  `json:"files,omitempty"`      // of the managed regular files, by path
	History    []Generation `json:"history"`              // newest first; the first is the live one
}

// Generated is a file or a link that is made from what is known of the trees, such as
// a boot menu. See Dir.Generate.
type Generated struct {
	Path    string // below the boot directory
	Content []byte
	Target  string // of a link; then there is no content
	Yield   bool   // where the site or a tree has the name, leave it to them
}

// maxGenerated bounds what is looked at for being a generated file, in bytes.
const maxGenerated = 16 << 20

// MenuEntry is what a boot menu says of a tree besides what its image tells.
type MenuEntry struct {
	Title string `json:"title,omitempty"` // empty: from the labels
	Args  string `json:"args,omitempty"`  // of the kernel
}

// Selection is the user's choice among platforms.
type Selection struct {
	Spec      string   `json:"spec,omitempty"`
	Platforms []string `json:"platforms,omitempty"`
	Layouts   []string `json:"layouts,omitempty"` // in which each image stands; empty for one
}

// FileState is how a managed regular file looked when its content was last
// known to be right. Times are nanoseconds since 1970.
type FileState struct {
	Path  string `json:"path"` // below the live path
	Inode uint64 `json:"inode"`
	Size  int64  `json:"size"`
	Mtime int64  `json:"mtime"`
	Ctime int64  `json:"ctime"`
}

// Generation is one line of a tree's history.
type Generation struct {
	Digest     string    `json:"digest"`
	Installed  time.Time `json:"installed"`           // when it last became live
	Superseded time.Time `json:"superseded,omitzero"` // when another took its place; zero for the live one
}

// Problem is a managed entry that is not as recorded.
type Problem struct {
	Path string `json:"path"` // below the live path; "." where that itself is not what it was, TopPath where it is
	What string `json:"what"` // one of the words below
}

// TopPath is the live path itself in problems that concern only its attributes.
const TopPath = "/"

// What can be wrong with a managed entry.
const (
	Missing     = "missing"
	WrongType   = "wrong type"
	WrongSize   = "wrong size"
	WrongBytes  = "wrong content"
	WrongMode   = "wrong mode"
	WrongOwner  = "wrong owner"
	WrongLabel  = "wrong label"
	WrongTarget = "wrong link target"

	GenerationGone  = "missing below by-digest"
	GenerationWrong = "wrong content below by-digest"
)

// Result tells what Commit did to the visible tree.
type Result struct {
	Changed bool // something visible changed

	// Regular files of the image: Written have a new inode at their path,
	// Kept still have the one they had.
	Written, Kept int

	// Warnings are failures after the new tree became visible. The update
	// stands; the next Open finishes what is left.
	Warnings []string
}

// DefaultKeep and DefaultGrace are how long generations stay when Options does
// not say: that many of each tree, the live one counted, and at least that
// long after they were superseded.
const (
	DefaultKeep  = 2
	DefaultGrace = 24 * time.Hour
)

// Options of Open. The zero value is usable.
type Options struct {
	Keep     int                           // generations per tree, the live one counts; 0 means DefaultKeep
	Grace    time.Duration                 // at least this long after being superseded; 0 means DefaultGrace
	AllowGap bool                          // may leave a live path absent for a moment where the file system cannot exchange
	Now      func() time.Time              // nil means time.Now
	Log      func(format string, a ...any) // notes for the user; nil drops them
	hook     func(op, path string) error   // tests: called before every call that changes files

	partialMin, partialLimit int64 // tests: other bounds of partial downloads; 0: the usual ones
}
