package pack

import (
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
)

// Plan is an image before its bytes: what Scan decided and Build applies.
type Plan struct {
	Platform    string              `json:"platform"`
	Compression archive.Compression `json:"compression"`
	Created     *time.Time          `json:"created,omitempty"`
	Labels      map[string]string   `json:"labels"`
	Annotations map[string]string   `json:"annotations"`
	// Layers of the payload in order. The layer with SHA256SUM, which goes
	// before them, is not listed: its content is known when they are written.
	Layers []PlanLayer `json:"layers"`
	// Files and Size count the regular files of the payload and their bytes.
	Files int   `json:"files"`
	Size  int64 `json:"size"`

	options Options
	nodes   []node            // what the sources held, to be compared at the end
	sums    map[string]string // expected SHA-256 by name in the sources; nil: none
}

// PlanLayer is one layer of the payload.
type PlanLayer struct {
	// Title says what the layer is for: "payload", the path of its file, or
	// "links".
	Title   string  `json:"title"`
	Entries []Entry `json:"entries"`
}

// Entry is one entry of the payload.
type Entry struct {
	Path   string         `json:"path"`
	Type   spec.EntryType `json:"type"`
	Size   int64          `json:"size,omitempty"`   // bytes of a file
	Target string         `json:"target,omitempty"` // of a link, as written
	Source string         `json:"source,omitempty"` // the file on disk; empty if made up here

	node *node // where it comes from; nil if made up here
}

// size is the number of bytes of the regular files of a layer.
func (l *PlanLayer) size() int64 {
	var sum int64
	for _, e := range l.Entries {
		sum += e.Size
	}
	return sum
}

// planned is one manifest of a plan.
type planned struct {
	artifactType string // empty for an image
	annotations  map[string]string
	layers       []PlanLayer
}

// manifests gives what Build publishes, in order.
func (p *Plan) manifests() []planned {
	return []planned{{annotations: p.Annotations, layers: p.Layers}}
}
