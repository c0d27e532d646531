package pack

import (
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
)

// Plan is what will be published before its bytes: what Scan decided and Build
// applies.
type Plan struct {
	Format      Format              `json:"format"`
	Platform    string              `json:"platform"`
	Compression archive.Compression `json:"compression"`
	Created     *time.Time          `json:"created,omitempty"`
	Labels      map[string]string   `json:"labels"`
	Annotations map[string]string   `json:"annotations"`
	// Layers of the payload in order. The layer with SHA256SUM, which goes
	// before those of an image, is not listed: its content is known when they
	// are written.
	Layers []PlanLayer `json:"layers"`
	// Files and Size count the regular files of the payload and their bytes.
	Files int   `json:"files"`
	Size  int64 `json:"size"`

	// OSName and OSVersion of the boot files; empty where nobody says them.
	OSName    string `json:"osName,omitempty"`
	OSVersion string `json:"osVersion,omitempty"`
	// Facts are what the sources say about themselves, and Notes how they were
	// understood.
	Facts []source.Fact `json:"facts,omitempty"`
	Notes []string      `json:"notes,omitempty"`

	options Options
	set     *source.Set    // nil once closed
	nodes   []source.Entry // what the sources hold
	verify  *verification
	origins []source.Origin
	packed  map[*source.Entry]packedFile // what Build has read
}

// PlanLayer is one layer of the payload.
type PlanLayer struct {
	// Title says what the layer is for: "payload", the path of its file, or
	// "links".
	Title string `json:"title"`
	// DiskType of a file that becomes an artifact of its own, where it is known.
	DiskType string `json:"disktype,omitempty"`
	// MediaType of a layer that is one file as it is; tar layers get theirs
	// from the compression.
	MediaType string  `json:"mediaType,omitempty"`
	Entries   []Entry `json:"entries"`
}

// Entry is one entry of the payload.
type Entry struct {
	Path   string         `json:"path"`
	Type   spec.EntryType `json:"type"`
	Size   int64          `json:"size,omitempty"`   // bytes of a file
	Target string         `json:"target,omitempty"` // of a link, as written
	Source string         `json:"source,omitempty"` // where it lies: a path, or ARCHIVE:/PATH; empty if made up here
	// VerifiedBy names the publishers' lists that the file has to agree with.
	VerifiedBy []string `json:"verifiedBy,omitempty"`

	node     *source.Entry // where it comes from; nil if made up here
	flatFrom string        // its path before Options.Flatten
}

// Close releases the sources, and what was kept of them. A closed plan can still
// be printed.
func (p *Plan) Close() error {
	if p.set == nil {
		return nil
	}
	set := p.set
	p.set = nil
	return set.Close()
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
	title        string // of a single file
	annotations  map[string]string
	layers       []PlanLayer
}

// manifests gives what Build publishes, in order.
func (p *Plan) manifests() []planned {
	one := planned{annotations: p.Annotations, layers: p.Layers}
	switch p.Format {
	case FormatArtifact:
		one.artifactType = spec.ArtifactType
	case FormatFile:
		return p.singleFiles()
	}
	return []planned{one}
}
