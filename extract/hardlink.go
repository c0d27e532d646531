package extract

import (
	"path"

	"github.com/nbpack/nbpack/spec"
)

// linkAll makes the hard links of all layers, in the order of the image, once
// their targets are there. Finish takes copies of entry links out again.
func (in *intake) linkAll() error {
	for i := range in.target.layers {
		for k := range in.entries[i] {
			e := &in.entries[i][k]
			if e.Type != spec.TypeHardlink {
				continue
			}
			if err := in.link(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (in *intake) link(e *spec.Entry) error {
	target, ok := in.staged[e.Target]
	if !ok {
		return spec.Refuse(spec.RuleLinkDangling, e.Path, "hard link to %q, which is no file that came before it", e.Target)
	}
	if want, listed := in.sums[e.Path]; listed && want != target.SHA256 {
		return spec.Refuse(spec.RuleSumsMismatch, e.Path, "its content does not match SHA256SUM")
	}
	e.SHA256, e.Size = target.SHA256, target.Size
	if _, done := in.staged[e.Path]; done {
		return nil
	}
	if err := in.stage.Link(e.Path, e.Target); err != nil {
		return err
	}
	in.staged[e.Path] = *e
	return nil
}

// isEntryLinkCopy says whether a file may be a builder's copy of an entrypoint
// link. The final check compares it with the file it stands for.
func (in *intake) isEntryLinkCopy(e spec.Entry) bool { return isEntryLinkCopy(e, in.sums) }

func isEntryLinkCopy(e spec.Entry, sums map[string]string) bool {
	if _, listed := sums[e.Path]; listed || e.Type != spec.TypeFile && e.Type != spec.TypeHardlink {
		return false
	}
	for _, l := range spec.EntryLinks() {
		if path.Base(e.Path) == l.Name {
			return true
		}
	}
	return false
}
