//go:build linux

package bootdir

import (
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// builder makes the tool that fills what is swapped in.
func (p *plan) builder() (*builder, error) {
	root, err := p.s.d.root.self()
	if err != nil {
		return nil, err
	}
	return &builder{ctx: p.ctx, d: p.s.d, s: p.s, dev: root.Dev, old: p.old,
		children: childrenOf(p.entries), states: p.states, later: p.later}, nil
}

// dirUnit stages a real directory as the one unit of the tree. A tree that
// already consists of the staged inodes is left alone.
func (p *plan) dirUnit() error {
	p.tree.Units = []string{p.tree.Live}
	u := unit{Path: p.tree.Live, Staged: stagedTree(p.part), Part: p.part}
	var old *dirFD
	st, err := p.s.d.root.statPath(p.tree.Live)
	if err != nil && !isMissing(err) {
		return err
	}
	if err == nil {
		u.Old = st.Ino
	}
	if err == nil && isDir(st) {
		if old, err = p.s.d.root.open(p.tree.Live); err != nil {
			return err
		}
		defer old.close()
		what, err := p.s.d.wornTop(&Tree{Live: p.tree.Live, Attributes: p.s.attrs}, st)
		if err != nil {
			return err
		}
		if same, err := p.same(old, "."); err != nil || same && what == "" && !p.stale(".") {
			return err
		}
	}
	b, err := p.builder()
	if err != nil {
		return err
	}
	if err := b.fillManaged(".", old, p.s.dir, u.Staged); err != nil {
		return err
	}
	p.strangers = b.strangers
	return p.addUnit(u)
}

// addUnit notes the inode of what was staged.
func (p *plan) addUnit(u unit) error {
	st, err := p.s.dir.statPath(u.Staged)
	if err != nil {
		return err
	}
	u.Inode = st.Ino
	p.units = append(p.units, u)
	p.result.Changed = true
	return nil
}

// linkUnit stages a symbolic link to the generation. A directory becomes a
// link only when it holds nothing of the site's.
func (p *plan) linkUnit() error {
	p.tree.Units = []string{p.tree.Live}
	target := linkTarget(p.tree.Live, p.hex)
	if hex, err := p.s.d.linkedNow(p.tree.Live); err == nil && hex == p.hex {
		return nil
	} else if err != nil && !isMissing(err) {
		return err
	}
	u := unit{Path: p.tree.Live, Staged: stagedTree(p.part), Part: p.part}
	st, err := p.s.d.root.statPath(p.tree.Live)
	if err != nil && !isMissing(err) {
		return err
	}
	if err == nil {
		u.Old = st.Ino
	}
	if err == nil && isDir(st) {
		if err := p.refuseStrangers(); err != nil {
			return err
		}
	}
	if err := p.s.symlink(target, p.s.dir, u.Staged); err != nil {
		return err
	}
	return p.addUnit(u)
}

// refuseStrangers refuses to turn a directory with the site's files into a
// link, after the same look that would carry them over.
func (p *plan) refuseStrangers() error {
	live, err := p.s.d.root.open(p.tree.Live)
	if err != nil {
		return err
	}
	defer live.close()
	b, err := p.builder()
	if err != nil {
		return err
	}
	const trial = "trial"
	if err := b.fillDir(".", live, p.s.dir, trial); err != nil {
		return err
	}
	if len(b.strangers) > 0 {
		return &spec.Refusal{Rule: "site-file", Path: path.Join(p.tree.Live, string(b.strangers[0].Path)),
			Reason: "a link to a generation has no room for the site's own files",
			Advice: "use --live dir, or move the file away; nothing was changed"}
	}
	return p.s.d.removeAll(p.s.dir, trial)
}

// flatUnits stages one unit for each entry at the top of the payload: second
// stages before the entry links that lead to them, removals last.
func (p *plan) flatUnits() error {
	b, err := p.builder()
	if err != nil {
		return err
	}
	b.oldTops, b.skip = map[string]bool{}, map[string]bool{}
	for name := range p.old {
		if !strings.Contains(name, "/") {
			b.oldTops[name] = true
		}
	}
	for _, e := range b.children["."] {
		b.oldTops[e.Path] = true
		same, err := p.same(p.s.d.root, e.Path)
		if err != nil {
			return err
		}
		b.skip[e.Path] = same && !p.stale(e.Path)
	}
	if err := b.fillFlat(stagedTree(p.part)); err != nil {
		return err
	}
	p.strangers = b.strangers
	for _, name := range flatOrder(b.oldTops, p.entries) {
		if err := p.flatUnit(name, b); err != nil {
			return err
		}
	}
	return nil
}

// fillFlat makes the directory that holds the units until they are swapped in.
// The boot directory itself is not replaced, so nothing is taken from it.
func (b *builder) fillFlat(name string) error {
	if err := b.d.ops.mkdir(b.s.dir, name, 0o700); err != nil {
		return err
	}
	live, err := b.s.dir.open(name)
	if err != nil {
		return err
	}
	defer live.close()
	if err := b.fill(".", b.d.root, live); err != nil {
		return err
	}
	return b.d.ops.fsync(live.fd, live.path)
}

func (p *plan) flatUnit(name string, b *builder) error {
	inImage := slices.ContainsFunc(b.children["."], func(e spec.Entry) bool { return e.Path == name })
	if inImage {
		p.tree.Units = append(p.tree.Units, name)
	}
	if b.skip[name] {
		return nil
	}
	u := unit{Path: name, Staged: path.Join(stagedTree(p.part), name), Part: p.part}
	st, err := p.s.d.root.stat(name)
	if err != nil && !isMissing(err) {
		return err
	}
	if err == nil {
		u.Old = st.Ino
	}
	if _, err := p.s.dir.statPath(u.Staged); err == nil {
		return p.addUnit(u)
	} else if !isMissing(err) {
		return err
	}
	if u.Old == 0 {
		return nil // to be removed, and gone already
	}
	p.units = append(p.units, u)
	p.result.Changed = true
	return nil
}

// flatOrder sorts the names at the top: files and directories, then the entry
// links and their .efi twins, then what goes away.
func flatOrder(tops map[string]bool, entries []spec.Entry) []string {
	rank := map[string]int{}
	for name := range tops {
		rank[name] = 2
	}
	for _, e := range entries {
		if !strings.Contains(e.Path, "/") {
			rank[e.Path] = 0
			if isEntryLink(e) {
				rank[e.Path] = 1
			}
		}
	}
	names := make([]string, 0, len(rank))
	for name := range rank {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if rank[a] != rank[b] {
			return rank[a] - rank[b]
		}
		return strings.Compare(a, b)
	})
	return names
}

func isEntryLink(e spec.Entry) bool {
	return slices.ContainsFunc(spec.EntryLinks(), func(l spec.EntryLink) bool {
		return e.Type == spec.TypeSymlink && (e.Path == l.Name || e.Path == l.Name+".efi")
	})
}
