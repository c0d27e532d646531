package extract

import (
	"context"
	"fmt"
	"path"

	"github.com/nbpack/nbpack/spec"
)

// promises gives the checksums of files that are known before a layer is read,
// from the manifest of an artifact and from records of its layers. Copies of
// entry links are not among them, as SHA256SUM need not list them.
func (in *intake) promises() map[string]string {
	sums := map[string]string{}
	for _, l := range in.layers {
		entries, _ := l.foresee(in.known)
		for _, e := range entries {
			if e.Type == spec.TypeFile && e.SHA256 != "" {
				sums[e.Path] = e.SHA256
			}
		}
	}
	beside := map[string]bool{} // directory and content of ordinary files
	for p, sum := range sums {
		if !isLinkName(p) {
			beside[path.Dir(p)+" "+sum] = true
		}
	}
	for p, sum := range sums {
		if isLinkName(p) && beside[path.Dir(p)+" "+sum] {
			delete(sums, p)
		}
	}
	return sums
}

// foreseen lists what the tree will hold as far as it is known before the
// payload is read: the promised files and, of layers that are known, all the
// rest. complete says that nothing is missing from it.
func (in *intake) foreseen() (entries []spec.Entry, complete bool) {
	var raw []spec.Entry
	complete = true
	for i, l := range in.layers {
		held, ok := in.entries[i], in.entries[i] != nil
		if known, foreseen := l.foresee(in.known); foreseen && !ok {
			held, ok = known, true
		}
		if b := in.prints[i]; b != nil && !ok {
			held, ok = b.entries(in.sums), true
		}
		raw = append(raw, held...)
		complete = complete && ok
	}
	tree, copies := newTreeEntries(raw, in.sums)
	for _, e := range raw {
		if sum, ok := in.sums[e.Target]; ok && e.Type == spec.TypeHardlink && tree[e.Path].Type == spec.TypeFile {
			e.Type, e.Target, e.SHA256 = spec.TypeFile, "", sum // not what the target was in another image
			tree[e.Path] = e
		}
	}
	for p, sum := range in.sums {
		if _, ok := tree[p]; !ok {
			tree[p] = spec.Entry{Path: p, Type: spec.TypeFile, SHA256: sum}
		}
	}
	tree.linkCopies(copies, in.target.Labels)
	tree.entryLinks(in.target.Labels)
	return tree.list(), complete
}

// reuse takes from the boot directory what the plan believes to be there. What
// turns out to be damaged is left to the layers.
func (in *intake) reuse(ctx context.Context, p *Plan) error {
	in.asked = true
	resumes := in.disk != nil && in.disk.HasLeftovers()
	for i, it := range p.Items {
		if err := ctx.Err(); err != nil {
			return err
		}
		if it.Type != spec.TypeFile || it.Op == OpRemove || it.Op == OpWrite && !resumes {
			continue
		}
		if _, done := in.staged[it.Path]; done {
			continue
		}
		if _, promised := in.sums[it.Path]; !promised && it.Path != spec.SumsName {
			continue // a hard link, which gets what its target will have
		}
		if err := in.underFile(it.Path); err != nil {
			return err
		}
		ok, err := in.reuseFile(it)
		if err != nil {
			return fmt.Errorf("reuse %q: %w", it.Path, err)
		}
		if !ok {
			p.Items[i].Op = OpWrite
			continue
		}
		in.reused[it.Path] = it.SHA256
	}
	return nil
}

// reuseFile takes one file from the boot directory. One that the proof of a layer
// will read is not read here.
func (in *intake) reuseFile(it Item) (ok bool, err error) {
	if size, drawn := in.drawn[it.Path]; drawn {
		if ok, err = in.disk.Borrow(it.Path, it.SHA256, size); ok {
			in.loose[it.Path] = true
		}
		return ok, err
	}
	if it.Op == OpWrite { // nothing but what an interrupted run has left
		ok, err = in.disk.TakeLeftover(it.Path, it.SHA256)
	} else {
		ok, err = in.stage.Reuse(it.Path, it.SHA256, -1)
	}
	if ok {
		in.hold(spec.Entry{Path: it.Path, Type: spec.TypeFile, SHA256: it.SHA256})
	}
	return ok, err
}

// replayable gives what a layer holds if that is known, and all its files are
// staged or equal to one that is.
func (in *intake) replayable(layer int) ([]spec.Entry, bool) {
	entries, ok := in.layers[layer].foresee(in.known)
	if !ok {
		return nil, false
	}
	for _, e := range entries {
		if e.Type != spec.TypeFile || in.isEntryLinkCopy(e) {
			continue
		}
		have, staged := in.staged[e.Path]
		_, equal := in.content[e.SHA256]
		if e.SHA256 == "" || e.Size < 0 || staged && have.SHA256 != e.SHA256 || !staged && !equal {
			return nil, false
		}
	}
	return entries, true
}

func (in *intake) replay(layer int) (bool, error) {
	entries, ok := in.replayable(layer)
	if !ok {
		return false, nil
	}
	return true, in.admit(layer, entries)
}

// admit takes what a layer is known or proved to hold; its files are staged, or
// equal to one that is.
func (in *intake) admit(layer int, entries []spec.Entry) error {
	in.entries[layer] = []spec.Entry{}
	for _, e := range entries {
		if err := in.fits(e); err != nil {
			return err
		}
		in.entries[layer] = append(in.entries[layer], e)
		if err := in.place(e); err != nil {
			return err
		}
		if e.Type != spec.TypeFile || in.isEntryLinkCopy(e) {
			continue
		}
		if _, staged := in.staged[e.Path]; !staged {
			if err := in.stage.Link(e.Path, in.content[e.SHA256]); err != nil {
				return err
			}
		}
		in.hold(e) // now with its size
	}
	return nil
}

// reusedBytes adds up the files that came from the boot directory itself.
func (in *intake) reusedBytes(entries []spec.Entry) int64 {
	var n int64
	for _, e := range entries {
		if _, ok := in.reused[e.Path]; ok {
			n += e.Size
		}
	}
	return n
}
