package extract

import (
	"context"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/layout"
	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Placement is what one reference asks of a boot directory: the live paths that its
// trees belong at, and what is left to do for them.
type Placement struct {
	session *Session
	dir     *bootdir.Dir // of the session
	opts    Options
	layouts []layout.Layout   // of the options
	claimed map[string]string // live path → manifest digest
	jobs    []*job            // trees that may change
	steps   []step            // what is left to do, image by image
	known   bool              // by the records all is as it should be
	reports []TreeReport
}

// step is what is left to do for an image, or for a tree that is as it should be.
type step struct {
	live string // of that tree; empty for an image, whose job knows its places
	do   func(context.Context) error
}

// Lives gives the digest of the manifest that belongs at each live path. It is not to be
// changed.
func (p *Placement) Lives() map[string]string { return p.claimed }

// Leave takes a live path off what is left to do, because another placement makes the same
// tree there.
func (p *Placement) Leave(live string) {
	for _, j := range p.jobs {
		j.places = slices.DeleteFunc(j.places, func(pl *spot) bool { return pl.next.Live == live })
	}
	p.steps = slices.DeleteFunc(p.steps, func(s step) bool { return s.live == live })
}

// Known says that all trees are there as they should be, by what is recorded of them: then
// no step asks the registry for anything.
func (p *Placement) Known() bool { return p.known }

// Incoming counts the images that are not yet live everywhere.
func (p *Placement) Incoming() int { return len(p.incoming()) }

// Steps gives what is to be done, image by image. One that fails leaves its trees as they
// were, and does not keep the others from being done. A report is made with each.
func (p *Placement) Steps() []func(context.Context) error {
	var all []func(context.Context) error
	for _, s := range p.steps {
		all = append(all, s.do)
	}
	return all
}

// Reports tells of the trees of the steps that were done.
func (p *Placement) Reports() []TreeReport { return p.reports }

// run does all steps up to the first that fails.
func (p *Placement) run(ctx context.Context) error {
	for _, s := range p.steps {
		if err := s.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// consider adds the steps that make the trees of a reference what top says.
func (p *Placement) consider(ctx context.Context, ref transport.Reference, m *Meter, top ocispec.Descriptor) error {
	src := m.src
	done, err := p.unchanged(ctx, ref, top, m)
	if err != nil || done {
		return err
	}
	admitted, err := p.opts.Trust.admit(ctx, src, ref, top)
	if err != nil {
		return err
	}
	r := &resolve.Resolver{
		Source: src, Memory: p.dir, Reference: ref.String(),
		Set: p.opts.Set, Lenient: p.opts.Lenient, Admit: admitted.entry,
	}
	targets, err := r.Targets(ctx, top, p.opts.Platforms)
	if err != nil {
		return err
	}
	base := bootdir.Tree{
		Reference: ref.String(), Scheme: src.Scheme(), TagDigest: top.Digest.String(),
		Set: p.opts.Set, Catalog: p.opts.Catalog, Release: p.opts.Release, Keep: p.keep(),
		Selection: bootdir.Selection{Spec: resolve.SelectionName(p.opts.Platforms), Layouts: p.several()}, Policy: p.opts.Trust.ID(),
	}
	lives := make([][]string, len(targets))
	for i, t := range targets {
		if lives[i], err = p.aim(t, ref); err != nil {
			return err
		}
		// One tree for each live path.
		if !slices.ContainsFunc(lives[:i], func(l []string) bool { return slices.Equal(l, lives[i]) }) {
			base.Selection.Platforms = append(base.Selection.Platforms, t.PlatformName())
		}
	}
	for i, t := range targets {
		j := &job{src: src, meter: m, target: t, top: top}
		for k, live := range lives[i] {
			next := base
			next.Live, next.Layout, next.Digest, next.Platform = live, p.layouts[k].String(), t.Descriptor.Digest.String(), t.PlatformName()
			next.Created, next.Evidence = t.Created, admitted.record(next.Digest)
			j.places = append(j.places, &spot{next: &next, layout: p.layouts[k]})
		}
		p.jobs = append(p.jobs, j)
		p.steps = append(p.steps, step{do: func(ctx context.Context) error { return p.install(ctx, j) }})
	}
	return nil
}

// unchanged answers a run over a tag that did not move: every tree that this
// reference, selection and layout made last time is still there and whole.
func (p *Placement) unchanged(ctx context.Context, ref transport.Reference, top ocispec.Descriptor, m *Meter) (bool, error) {
	trees, err := p.made(ref, top.Digest.String())
	if err != nil || len(trees) == 0 {
		return false, err
	}
	for i := range trees {
		if len(trees) != len(trees[i].Selection.Platforms)*len(p.layouts) || trees[i].Pinned {
			return false, nil
		}
		problems, err := p.dir.Drift(ctx, &trees[i], p.opts.Checksum)
		if err != nil {
			return false, err
		}
		for _, problem := range problems {
			p.opts.logf("%s: %q: %s", trees[i].Live, problem.Path, problem.What)
		}
		if len(problems) > 0 {
			return false, nil
		}
	}
	for i := range trees {
		if err := claim(p.claimed, trees[i].Live, trees[i].Digest); err != nil {
			return false, err
		}
		p.steps = append(p.steps, step{trees[i].Live, func(context.Context) error {
			p.unchangedReport(&trees[i], top, m)
			return p.takeOver(&trees[i])
		}})
	}
	p.known = true
	return true, nil
}

// made lists the trees that the same question made before from the same
// answer. Trees that an earlier answer left behind are not among them.
func (p *Placement) made(ref transport.Reference, tagDigest string) ([]bootdir.Tree, error) {
	all, err := p.session.have.of(ref.String())
	if err != nil {
		return nil, err
	}
	var made []bootdir.Tree
	for _, t := range all {
		if t.Release == p.opts.Release && t.TagDigest == tagDigest && t.Selection.Spec == resolve.SelectionName(p.opts.Platforms) &&
			p.wants(&t) && p.wears(&t) && equalMaps(t.Set, p.opts.Set) && p.sameTrust(t.Policy) &&
			(p.opts.Live == "" || p.opts.Live == t.Mode) {
			made = append(made, t)
		}
	}
	return made, nil
}

// keep is the number of generations that a tree records as its own.
func (p *Placement) keep() int {
	if p.opts.Catalog == "" {
		return 0
	}
	return p.opts.Keep
}

// takeOver records of a tree, which did not change, that it belongs to the catalogue
// of this run, and what menus say of it.
func (p *Placement) takeOver(t *bootdir.Tree) error {
	if p.opts.DryRun {
		return nil
	}
	next := *t
	if p.opts.Catalog != "" {
		next.Catalog, next.Keep = p.opts.Catalog, p.keep()
	}
	next.Menu = p.menuEntry(t)
	if next.Catalog == t.Catalog && next.Keep == t.Keep && sameMenuEntry(next.Menu, t.Menu) {
		return nil
	}
	return p.dir.UpdateTree(&next)
}

// refuseDowngrade compares the creation times of two images of one reference.
func (p *Placement) refuseDowngrade(t *resolve.Target, cur *bootdir.Tree, ref string) error {
	if cur == nil || p.opts.AllowDowngrade || cur.Reference != ref || cur.Release != p.opts.Release || cur.Created == nil || t.Created == nil {
		return nil
	}
	if !t.Created.Before(*cur.Created) {
		return nil
	}
	r := spec.Refuse(spec.RuleDowngrade, "", "%q now names an image created %s, older than the installed one of %s",
		ref, t.Created.UTC().Format("2006-01-02T15:04:05Z"), cur.Created.UTC().Format("2006-01-02T15:04:05Z"))
	r.Advice = "if this step back is wanted, pull with --allow-downgrade"
	return r
}

func equalMaps(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}
