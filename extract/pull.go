package extract

import (
	"context"
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/layout"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Sources opens what references name. *transport.Client does; who has the images
// already can answer from there.
type Sources interface {
	Source(context.Context, transport.Reference) (transport.Source, error)
}

// Pull brings the boot trees of the references below o.Dir up to date and
// reports on each. A reference is asked for with one request; what is
// unchanged and undamaged costs nothing more. All references are resolved, and
// their live paths compared, before the first tree is touched; then the trees
// follow one after another. The first that fails ends the pull, and the report
// tells of those before it.
//
// Errors are *spec.Refusal for content that is not accepted, *PlatformError
// for the choice of a platform, *transport.NotFoundError, and
// *bootdir.LockedError while another run works on the directory.
func Pull(ctx context.Context, c Sources, refs []transport.Reference, o Options) (*Report, error) {
	report := &Report{Trees: []TreeReport{}}
	layouts, err := o.layouts()
	if err != nil {
		return report, err
	}
	dir, err := openDir(ctx, o)
	if err != nil {
		return report, o.failed(ctx, "", err)
	}
	defer dir.Close()
	defer o.keepMirrors(dir)
	p := &puller{dir: dir, have: &inventory{dir: dir}, opts: o, layouts: layouts, report: report, claimed: map[string]string{}}
	defer p.close()
	var from []string // reference that each step is about
	for _, ref := range refs {
		if err := p.prepare(ctx, c, ref); err != nil {
			return report, o.failed(ctx, ref.String(), err)
		}
		from = append(from, slices.Repeat([]string{ref.String()}, len(p.steps)-len(from))...)
	}
	if err := p.checkMenus(nil, nil); err != nil {
		return report, o.failed(ctx, "", err)
	}
	for i, step := range p.steps {
		if err := step(ctx); err != nil {
			// What is done is done, and the menus tell of it.
			return report, o.failed(ctx, from[i], errors.Join(err, p.writeMenus()))
		}
	}
	if err := p.writeMenus(); err != nil {
		return report, o.failed(ctx, "", err)
	}
	return report, nil
}

func openDir(ctx context.Context, o Options) (*bootdir.Dir, error) {
	if o.DryRun {
		return bootdir.View(o.Dir)
	}
	return bootdir.Open(ctx, o.Dir, o.bootdir())
}

// puller is the state of one run over one boot directory.
type puller struct {
	dir     *bootdir.Dir
	have    *inventory // what was recorded before this run
	opts    Options
	layouts []layout.Layout // of the options
	report  *Report
	claimed map[string]string // live path → manifest digest of this run
	sources []transport.Source
	jobs    []*job                        // trees that may change
	steps   []func(context.Context) error // what is left to do, tree by tree
}

func (p *puller) close() {
	for _, src := range p.sources {
		src.Close()
	}
}

// prepare finds out what a reference names now, and what that asks for.
func (p *puller) prepare(ctx context.Context, c Sources, ref transport.Reference) error {
	src, err := c.Source(ctx, ref)
	if err != nil {
		return err
	}
	p.sources = append(p.sources, src)
	top, err := src.Resolve(ctx)
	if err != nil {
		return err
	}
	return p.consider(ctx, ref, src, &meter{src: src}, top)
}

// consider adds the steps that make the trees of a reference what top says.
func (p *puller) consider(ctx context.Context, ref transport.Reference, src transport.Source, m *meter, top ocispec.Descriptor) error {
	done, err := p.unchanged(ctx, ref, top, m)
	if err != nil || done {
		return err
	}
	admitted, err := p.opts.Trust.admit(ctx, src, ref, top)
	if err != nil {
		return err
	}
	r := &resolver{src: src, mem: p.dir, ref: ref.String(), set: p.opts.Set, lenient: p.opts.lenient, admit: admitted.entry}
	targets, err := r.resolve(ctx, top, p.opts.Platforms)
	if err != nil {
		return err
	}
	base := bootdir.Tree{
		Reference: ref.String(), Scheme: src.Scheme(), TagDigest: top.Digest.String(),
		Set: p.opts.Set, Catalog: p.opts.Catalog, Release: p.opts.Release, Keep: p.keep(),
		Selection: bootdir.Selection{Spec: selectionName(p.opts.Platforms), Layouts: p.several()}, Policy: p.opts.Trust.ID(),
	}
	lives := make([][]string, len(targets))
	for i := range targets {
		if lives[i], err = p.aim(&targets[i], ref); err != nil {
			return err
		}
		// One tree for each live path.
		if !slices.ContainsFunc(lives[:i], func(l []string) bool { return slices.Equal(l, lives[i]) }) {
			base.Selection.Platforms = append(base.Selection.Platforms, targets[i].platformName())
		}
	}
	for i := range targets {
		j := &job{src: src, meter: m, target: &targets[i], top: top}
		for k, live := range lives[i] {
			next := base
			next.Live, next.Layout, next.Digest, next.Platform = live, p.layouts[k].String(), j.target.desc.Digest.String(), j.target.platformName()
			next.Created, next.Evidence = j.target.created, admitted.record(next.Digest)
			j.places = append(j.places, &spot{next: &next, layout: p.layouts[k]})
		}
		p.jobs = append(p.jobs, j)
		p.steps = append(p.steps, func(ctx context.Context) error { return p.install(ctx, j) })
	}
	return nil
}

// unchanged answers a run over a tag that did not move: every tree that this
// reference, selection and layout made last time is still there and whole.
func (p *puller) unchanged(ctx context.Context, ref transport.Reference, top ocispec.Descriptor, m *meter) (bool, error) {
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
		if err := p.claim(trees[i].Live, trees[i].Digest); err != nil {
			return false, err
		}
		p.steps = append(p.steps, func(context.Context) error {
			p.unchangedReport(&trees[i], top, m)
			return p.takeOver(&trees[i])
		})
	}
	return true, nil
}

// made lists the trees that the same question made before from the same
// answer. Trees that an earlier answer left behind are not among them.
func (p *puller) made(ref transport.Reference, tagDigest string) ([]bootdir.Tree, error) {
	all, err := p.have.of(ref.String())
	if err != nil {
		return nil, err
	}
	var made []bootdir.Tree
	for _, t := range all {
		if t.Release == p.opts.Release && t.TagDigest == tagDigest && t.Selection.Spec == selectionName(p.opts.Platforms) &&
			p.wants(&t) && p.wears(&t) && equalMaps(t.Set, p.opts.Set) && p.sameTrust(t.Policy) &&
			(p.opts.Live == "" || p.opts.Live == t.Mode) {
			made = append(made, t)
		}
	}
	return made, nil
}

// keep is the number of generations that a tree records as its own.
func (p *puller) keep() int {
	if p.opts.Catalog == "" {
		return 0
	}
	return p.opts.Keep
}

// takeOver records of a tree, which did not change, that it belongs to the catalogue
// of this run, and what menus say of it.
func (p *puller) takeOver(t *bootdir.Tree) error {
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

// claim refuses two references of one run that want the same live path for
// different content.
func (p *puller) claim(live, digest string) error {
	if other, taken := p.claimed[live]; taken && other != digest {
		return &usageError{
			msg:  fmt.Sprintf("two images of this run belong at %q: manifests %s and %s", live, other, digest),
			hint: "give them paths of their own with --layout or --set",
		}
	}
	p.claimed[live] = digest
	return nil
}

// refuseDowngrade compares the creation times of two images of one reference.
func (p *puller) refuseDowngrade(t *target, cur *bootdir.Tree, ref string) error {
	if cur == nil || p.opts.AllowDowngrade || cur.Reference != ref || cur.Release != p.opts.Release || cur.Created == nil || t.created == nil {
		return nil
	}
	if !t.created.Before(*cur.Created) {
		return nil
	}
	r := spec.Refuse(spec.RuleDowngrade, "", "%q now names an image created %s, older than the installed one of %s",
		ref, t.created.UTC().Format("2006-01-02T15:04:05Z"), cur.Created.UTC().Format("2006-01-02T15:04:05Z"))
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
