package extract

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/extract/layout"
	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// layouts reads the layouts of the options.
func (o Options) layouts() ([]layout.Layout, error) {
	var list []layout.Layout
	for _, name := range o.layoutNames() {
		l, err := layout.Parse(name)
		if err != nil {
			return nil, err
		}
		if !l.Plain() && o.Live == bootdir.ModeLink {
			return nil, &usageError{
				msg:  fmt.Sprintf("the layout %q shows files under other names than the image, which a link to it cannot", name),
				hint: "leave out --live link, or choose another --layout",
			}
		}
		if slices.ContainsFunc(list, func(other layout.Layout) bool { return other.String() == l.String() }) {
			return nil, &usageError{msg: fmt.Sprintf("the layout %q is given twice", name)}
		}
		list = append(list, l)
	}
	return list, nil
}

func (o Options) layoutNames() []string {
	if len(o.Layouts) == 0 {
		return []string{"default"}
	}
	return o.Layouts
}

// CheckLayouts tells whether the layouts can be used, and with Live, before an image is there.
func (o Options) CheckLayouts() error {
	layouts, err := o.layouts()
	sample := map[string]string{spec.LabelOSName: "name", spec.LabelOSVersion: "1", spec.LabelOSArch: "amd64"}
	for _, l := range layouts {
		if _, lerr := l.Live(sample); err == nil {
			err = lerr
		}
	}
	return err
}

// Question spells out what of the options decides, besides the content, whether a reference
// is laid out and where: equal questions about equal content have equal answers.
func (o Options) Question() string {
	q := resolve.SelectionName(o.Platforms) + " " + strings.Join(o.layoutNames(), " ")
	for _, label := range slices.Sorted(maps.Keys(o.Set)) {
		q += fmt.Sprintf(" %s=%q", label, o.Set[label])
	}
	return q + " " + o.Trust.ID()
}

// wears tells whether a recorded tree has the attributes that are asked for.
func (p *Placement) wears(t *bootdir.Tree) bool {
	return t.Attributes.Equal(p.opts.Attributes.Over(t.Attributes))
}

// several is what a tree records of its layouts: nothing where there is one.
func (p *Placement) several() []string {
	if len(p.layouts) < 2 {
		return nil
	}
	var names []string
	for _, l := range p.layouts {
		names = append(names, l.String())
	}
	return names
}

// wants tells whether a recorded tree has one of the layouts, for the same set of them.
func (p *Placement) wants(t *bootdir.Tree) bool {
	return slices.Equal(t.Selection.Layouts, p.several()) &&
		slices.ContainsFunc(p.layouts, func(l layout.Layout) bool { return l.String() == t.Layout })
}

// aim gives the live paths of a target, one for each layout. They must be its own in
// this run.
func (p *Placement) aim(t *resolve.Target, ref transport.Reference) ([]string, error) {
	labels, err := layout.WithSet(t.Labels, p.opts.Set)
	if err != nil {
		return nil, err
	}
	var lives []string
	for _, l := range p.layouts {
		live, err := l.Live(labels)
		if err != nil {
			return nil, err
		}
		if slices.Contains(lives, live) {
			return nil, &usageError{msg: fmt.Sprintf("two of the layouts put the tree at %q", live), hint: "give each a path of its own with a template"}
		}
		if err := claim(p.claimed, live, t.Descriptor.Digest.String()); err != nil {
			return nil, err
		}
		if err := p.aloneAtTop(live, ref); err != nil {
			return nil, err
		}
		if err := p.dir.CheckLive(live); err != nil {
			return nil, err
		}
		lives = append(lives, live)
	}
	return lives, nil
}

// aloneAtTop keeps the trees of other images away from one that has the whole
// directory: which names it takes there can change with each update.
func (p *Placement) aloneAtTop(live string, ref transport.Reference) error {
	if err := p.session.have.load(); err != nil {
		return err
	}
	for other, t := range p.session.have.live {
		if (other == bootdir.FlatLive) != (live == bootdir.FlatLive) && t.Reference != ref.String() {
			return &spec.Refusal{Rule: "live-path", Path: live, Reason: fmt.Sprintf("lies inside the boot tree %q or around it", other),
				Advice: "choose another --layout, or another boot directory"}
		}
	}
	return nil
}

// spot is one live tree of a job.
type spot struct {
	layout  layout.Layout
	cur     *bootdir.Tree // nil for a first install
	next    *bootdir.Tree
	damaged map[string]bool // managed paths that are not as recorded, as bootdir names them
	changes bool            // there is something to do
	plan    *Plan
}

// moved says that the tree gets another manifest or form, be its files the same.
func (pl *spot) moved() bool {
	return pl.cur == nil || pl.cur.Digest != pl.next.Digest || pl.cur.Mode != pl.next.Mode || pl.cur.Layout != pl.next.Layout && !pl.layout.Plain() ||
		!pl.cur.Attributes.Equal(pl.next.Attributes)
}

// arrangement says what the tree will show of an image with these entries; nil for
// all of it, path by path.
func (pl *spot) arrangement(t *resolve.Target, entries []spec.Entry, partial bool) (*bootdir.Arrangement, error) {
	labels, err := layout.WithSet(t.Labels, pl.next.Set)
	if err != nil {
		return nil, err
	}
	a, err := pl.layout.Arrange(labels, entries, partial)
	if err != nil || a == nil {
		return nil, err
	}
	return &bootdir.Arrangement{Entries: a.Entries, Beside: a.Beside}, nil
}

// shown lists what a tree shows with an arrangement, as plans have it: without the
// paths of its files in the image, and with a slash before what stands beside it.
func shown(a *bootdir.Arrangement, entries []spec.Entry) []spec.Entry {
	if a == nil {
		return entries
	}
	list := slices.Clone(a.Entries)
	for _, e := range a.Beside {
		if e.Type == spec.TypeFile && e.Target == "" {
			e.Target = e.Path
		}
		e.Path = "/" + e.Path
		list = append(list, e)
	}
	for i := range list {
		if list[i].Type == spec.TypeFile {
			list[i].Target = ""
		}
	}
	return list
}

// standing lists what is at the live path and beside it: nothing of ours where that
// is gone.
func (p *Placement) standing(pl *spot) []spec.Entry {
	if pl.damaged["."] || pl.cur == nil {
		return nil
	}
	return shown(pl.cur.Arrangement, recorded(p.dir, pl.cur))
}

// sameShown tells whether the record of a tree that does not move has what its layout
// would show of it now: the layout may have changed its mind with the program.
func (p *Placement) sameShown(t *resolve.Target, pl *spot) (bool, error) {
	if pl.layout.Plain() {
		return pl.cur.Arrangement == nil, nil
	}
	img, err := p.dir.Image(pl.cur.Digest)
	if err != nil || img == nil {
		return true, err
	}
	a, err := pl.arrangement(t, img.Entries, false)
	if err != nil {
		return false, err
	}
	return slices.Equal(leaves(shown(a, nil)), leaves(shown(pl.cur.Arrangement, nil))), nil
}

// leaves gives the entries that are no directories.
func leaves(entries []spec.Entry) []spec.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e spec.Entry) bool { return e.Type == spec.TypeDir })
}

// sources gives the paths in the image of paths of a tree.
func (pl *spot) sources(paths map[string]bool) map[string]bool {
	if pl.cur == nil || pl.cur.Arrangement == nil {
		return paths
	}
	all := map[string]bool{}
	for _, e := range pl.cur.Arrangement.Entries {
		if paths[e.Path] {
			all[bootdir.SourceOf(e)] = true
		}
	}
	for _, e := range pl.cur.Arrangement.Beside {
		if paths["/"+e.Path] {
			all[bootdir.SourceOf(e)] = true
		}
	}
	return all
}

// lost gives the paths of a tree whose files had to be made anew, from their paths in
// the image, besides those that are damaged there.
func (pl *spot) lost(a *bootdir.Arrangement, anew map[string]bool) map[string]bool {
	all := map[string]bool{}
	for p := range pl.damaged {
		all[p] = true
	}
	if a == nil {
		for p := range anew {
			all[p] = true
		}
		return all
	}
	for _, e := range a.Entries {
		all[e.Path] = all[e.Path] || anew[bootdir.SourceOf(e)]
	}
	for _, e := range a.Beside {
		all["/"+e.Path] = all["/"+e.Path] || anew[bootdir.SourceOf(e)]
	}
	return all
}

// clear tells whether the site is in the way of what an image brings to a place.
func (p *Placement) clear(pl *spot, t *resolve.Target, want []spec.Entry) error {
	a, err := pl.arrangement(t, want, true)
	if err != nil {
		return err
	}
	if a == nil {
		return p.dir.CheckSite(pl.next.Live, want)
	}
	return p.dir.CheckSite(pl.next.Live, a.Entries, a.Beside...)
}
