package extract

import (
	"path"

	"github.com/nbpack/nbpack/spec"
)

// linkAll makes the hard links of all layers, in the order of the image, once
// their targets are there. Finish takes copies of entry links out again.
func (in *intake) linkAll() error {
	for i := range in.layers {
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
	e.SHA256, e.Size = target.SHA256, target.Size
	if want, promised := in.sums[e.Path]; promised && want != e.SHA256 {
		return in.mismatch(*e, want)
	}
	if _, done := in.staged[e.Path]; done {
		return nil
	}
	if err := in.stage.Link(e.Path, e.Target); err != nil {
		return err
	}
	in.hold(*e)
	return nil
}

// isEntryLinkCopy says whether a file may be a builder's copy of an entrypoint
// link. The final check compares it with the file it stands for.
func (in *intake) isEntryLinkCopy(e spec.Entry) bool { return isEntryLinkCopy(e, in.sums) }

func isEntryLinkCopy(e spec.Entry, sums map[string]string) bool {
	if _, listed := sums[e.Path]; listed || e.Type != spec.TypeFile && e.Type != spec.TypeHardlink {
		return false
	}
	return isLinkName(e.Path)
}

// isLinkName tells whether a path ends with the name of an entry link.
func isLinkName(p string) bool {
	for _, l := range spec.EntryLinks() {
		if path.Base(p) == l.Name {
			return true
		}
	}
	return false
}
