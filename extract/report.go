package extract

import "github.com/nbpack/nbpack/internal/transport"

// Report is what a pull did, or in a dry run would do. Its JSON form is the
// output of "nbextract pull --json".
type Report struct {
	Trees []TreeReport `json:"trees"`
	// Menus are the paths of boot menus, and of files that belong to them, that were
	// written or removed.
	Menus []string `json:"menus,omitempty"`
}

// TreeReport tells of one boot tree.
type TreeReport struct {
	Reference   string `json:"reference"`
	Digest      string `json:"digest"`       // manifest of the platform
	IndexDigest string `json:"index_digest"` // what the reference names, where that is an index; else empty
	Platform    string `json:"platform"`
	Path        string `json:"path"` // live path below the boot directory
	Layout      string `json:"layout"`
	// Changed is about this tree, not about the index it came from.
	Changed bool       `json:"changed"`
	Pinned  bool       `json:"pinned,omitempty"`
	DryRun  bool       `json:"dry_run,omitempty"`
	Files   FileCounts `json:"files"`
	Bytes   ByteCounts `json:"bytes"`
	// Requests counts every HTTP request made for this tree.
	Requests int   `json:"requests"`
	Plan     *Plan `json:"plan,omitempty"` // dry runs only
	Itemized *Plan `json:"-"`
}

// FileCounts counts regular files: those that get a new inode at their path
// (be it linked from content that was there already), those that keep theirs,
// and those that go.
type FileCounts struct {
	Written int `json:"written"`
	Kept    int `json:"kept"`
	Removed int `json:"removed"`
}

// ByteCounts counts bytes of response bodies and bytes of kept files.
type ByteCounts struct {
	Fetched int64 `json:"fetched"`
	Reused  int64 `json:"reused"`
}

// Meter tells for reports how much a source was used since the last one. Who considers
// several contents of one source does so with one meter.
type Meter struct {
	src  transport.Source
	last transport.Usage
}

// NewMeter gives a meter of a source of which nothing was counted yet.
func NewMeter(src transport.Source) *Meter { return &Meter{src: src} }

func (m *Meter) read(r *TreeReport) {
	now := m.src.Usage()
	r.Requests = now.Requests - m.last.Requests
	r.Bytes.Fetched = now.Bytes - m.last.Bytes
	m.last = now
}
