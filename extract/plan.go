package extract

import (
	"fmt"
	"io"
	"path"
	"sort"
	"strings"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// Op says what a pull does with one path of a boot tree.
type Op string

const (
	// OpKeep leaves the path as it is.
	OpKeep Op = "keep"
	// OpLink makes the path from content that the boot directory already
	// holds under another name.
	OpLink Op = "link"
	// OpWrite brings new content from the image.
	OpWrite Op = "write"
	// OpRemove takes away what the image no longer has.
	OpRemove Op = "remove"
)

// Item is one path of a Plan.
type Item struct {
	Path   string         `json:"path"`
	Type   spec.EntryType `json:"type"`
	Op     Op             `json:"op"`
	New    bool           `json:"new,omitempty"` // nothing stood at the path before
	SHA256 string         `json:"sha256,omitempty"`
	Target string         `json:"target,omitempty"`
}

// Plan says what would make one live tree equal to one manifest. A dry run
// prints it; a run applies it.
type Plan struct {
	Live   string `json:"path"`
	Digest string `json:"digest"`
	Items  []Item `json:"items"`
	// Complete is false while the image's links and directories are not known
	// yet: a SHA256SUM file lists regular files only.
	Complete bool `json:"complete"`
}

// holdings answers whether the boot directory claims to have some content.
type holdings interface{ Holds(sha256 string) bool }

// newPlan compares what an image will put into a tree with what the record
// says is there. damaged are managed paths whose content can no longer be
// trusted; they are made anew.
func newPlan(live, digest string, want, have []spec.Entry, damaged map[string]bool, complete bool, h holdings) *Plan {
	p := &Plan{Live: live, Digest: digest, Complete: complete}
	old := make(map[string]spec.Entry, len(have))
	for _, e := range have {
		old[e.Path] = e
	}
	wanted := map[string]bool{}
	for _, e := range want {
		wanted[e.Path] = true
		was, stood := old[e.Path]
		item := Item{Path: e.Path, Type: e.Type, New: !stood, SHA256: e.SHA256, Target: e.Target}
		switch {
		case stood && same(was, e) && !damaged[e.Path]:
			item.Op = OpKeep
		case e.Type == spec.TypeFile && h.Holds(e.SHA256):
			item.Op = OpLink
		default:
			item.Op = OpWrite
		}
		p.Items = append(p.Items, item)
	}
	for _, e := range have {
		if !wanted[e.Path] && (complete || e.Type == spec.TypeFile) {
			p.Items = append(p.Items, Item{Path: e.Path, Type: e.Type, Op: OpRemove})
		}
	}
	sort.Slice(p.Items, func(i, j int) bool { return p.Items[i].Path < p.Items[j].Path })
	return p
}

// lost adds to damaged what the plan meant to keep and found unusable.
func (p *Plan) lost(damaged map[string]bool) map[string]bool {
	all := map[string]bool{}
	for name := range damaged {
		all[name] = true
	}
	for _, it := range p.Items {
		if it.Op == OpWrite {
			all[it.Path] = true
		}
	}
	return all
}

// same says whether two entries are the same for a boot client: sizes need no
// comparison where the content does.
func same(a, b spec.Entry) bool {
	return a.Type == b.Type && a.SHA256 == b.SHA256 && a.Target == b.Target
}

// Changes tells whether applying the plan would change the tree.
func (p *Plan) Changes() bool {
	for _, it := range p.Items {
		if it.Op != OpKeep {
			return true
		}
	}
	return false
}

// Itemize writes one line for each change in the manner of rsync's
// --itemize-changes.
func (p *Plan) Itemize(w io.Writer) error {
	for _, it := range p.Items {
		line := it.String()
		if line == "" {
			continue
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// String is the item's line, or empty for what stays. Paths that a terminal
// could take for commands are quoted.
func (it Item) String() string {
	name := printable(path.Join(it.Path))
	if it.Op == OpKeep {
		return ""
	}
	if it.Op == OpRemove {
		return "*deleting   " + name
	}
	kind, suffix := "f", ""
	update := map[Op]string{OpWrite: ">", OpLink: "h"}[it.Op]
	switch it.Type {
	case spec.TypeDir:
		update, kind, name = "c", "d", name+"/"
	case spec.TypeSymlink:
		update, kind, suffix = "c", "L", " -> "+printable(it.Target)
	}
	flags := "+++++++++"
	if !it.New {
		flags = "c.t......"
	}
	return update + kind + flags + " " + name + suffix
}

func printable(s string) string {
	if q := fmt.Sprintf("%q", s); q[1:len(q)-1] != s || strings.ContainsAny(s, " \"") {
		return q
	}
	return s
}

// recorded returns the entries that the record of a tree says are live.
func recorded(dir *bootdir.Dir, t *bootdir.Tree) []spec.Entry {
	if t == nil {
		return nil
	}
	if img, _ := dir.Image(t.Digest); img != nil {
		return img.Entries
	}
	return nil
}
