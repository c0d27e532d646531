package extract

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/layout"
	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// install makes the live trees of one manifest equal to it, or in a dry run says
// what that would take.
func (p *Placement) install(ctx context.Context, j *job) error {
	var open []*spot
	for _, pl := range j.places {
		pinned, err := p.prepareTree(ctx, j, pl)
		if err != nil {
			return err
		}
		if !pinned {
			open = append(open, pl)
		}
	}
	if len(open) == 0 {
		return nil
	}
	j.places = open
	p.dress(j)
	return p.apply(ctx, j)
}

// dress says what the trees of a job wear. They share their files, and so all of that.
func (p *Placement) dress(j *job) {
	a := p.opts.Attributes
	for _, pl := range j.places {
		if pl.cur != nil {
			a = a.Over(pl.cur.Attributes)
		}
	}
	for _, pl := range j.places {
		pl.next.Attributes = a
	}
}

// prepareTree compares a place with what is recorded of it. One that is pinned is
// dealt with on the spot.
func (p *Placement) prepareTree(ctx context.Context, j *job, pl *spot) (pinned bool, err error) {
	if pl.cur, err = p.dir.Tree(pl.next.Live); err != nil {
		return false, err
	}
	pl.next.Mode, pl.next.Menu = p.mode(pl), p.menuEntry(pl.cur)
	if pl.cur != nil && pl.next.Catalog == "" {
		// A pull by hand does not take a tree out of its catalogue.
		pl.next.Catalog, pl.next.Keep = pl.cur.Catalog, pl.cur.Keep
	}
	if pl.cur != nil && pl.cur.Pinned {
		p.opts.logf("%s is pinned to %s by a rollback; nbextract unpin lets it follow %q again", pl.cur.Live, pl.cur.Digest, pl.next.Reference)
		if err := p.admitPinned(ctx, j, pl); err != nil {
			return true, err
		}
		return true, p.repairPinned(ctx, j, pl)
	}
	if err := p.refuseDowngrade(j.target, pl.cur, pl.next.Reference); err != nil {
		return false, err
	}
	p.tellMovedBack(pl)
	return false, nil
}

// tellMovedBack warns of a reference that names again what it had left behind:
// that may be a publisher's decision, or somebody who offers old content anew.
func (p *Placement) tellMovedBack(pl *spot) {
	if pl.cur == nil || pl.cur.Digest == pl.next.Digest || pl.cur.Reference != pl.next.Reference {
		return
	}
	for _, g := range pl.cur.History {
		if g.Digest == pl.next.Digest && !g.Superseded.IsZero() {
			p.opts.warnf("%s: %q names %s again, which was replaced on %s", pl.cur.Live, pl.next.Reference, g.Digest, g.Superseded.UTC().Format("2006-01-02 15:04"))
			return
		}
	}
}

// repairPinned keeps a pinned tree as it was rolled back to: what is missing or
// damaged comes back, and nothing else changes.
func (p *Placement) repairPinned(ctx context.Context, j *job, pl *spot) error {
	damaged, err := p.damaged(ctx, pl.cur)
	if err != nil {
		return err
	}
	if len(damaged) == 0 {
		p.unchangedReport(pl.cur, j.top, j.meter)
		return nil
	}
	t, err := (&resolve.Resolver{Source: j.src, Memory: p.dir, Reference: pl.cur.Reference}).Recall(ctx, pl.cur.Digest)
	if err != nil {
		return fmt.Errorf("repair %q: %w", pl.cur.Live, err)
	}
	again, err := again(pl.cur)
	if err != nil {
		return err
	}
	return p.apply(ctx, &job{src: j.src, meter: j.meter, target: t, top: j.top, pin: true, places: []*spot{again}})
}

// again is a place that is to be as its record says.
func again(cur *bootdir.Tree) (*spot, error) {
	l, err := layout.Parse(cur.Layout)
	if err != nil {
		return nil, err
	}
	next := *cur
	return &spot{layout: l, cur: cur, next: &next}, nil
}

// job is one manifest on its way to the live trees that are to show it.
type job struct {
	src    transport.Source
	meter  *Meter
	target *resolve.Target
	places []*spot
	top    ocispec.Descriptor
	pin    bool
}

// main is the place whose present tree is compared with the image first: one that
// shows it as it is, if there is one.
func (j *job) main() *spot {
	for _, plain := range []bool{true, false} {
		for _, pl := range j.places {
			if pl.cur != nil && !pl.damaged["."] && (!plain || pl.layout.Plain()) {
				return pl
			}
		}
	}
	return j.places[0]
}

func (p *Placement) mode(pl *spot) bootdir.LiveMode {
	switch {
	case !pl.layout.Plain():
		return bootdir.ModeDir
	case p.opts.Live != "":
		return p.opts.Live
	case pl.cur != nil:
		return pl.cur.Mode
	}
	return bootdir.ModeDir
}

// apply plans, and unless this is a dry run stages and commits.
func (p *Placement) apply(ctx context.Context, j *job) error {
	changes := false
	for _, pl := range j.places {
		if err := p.compare(ctx, j, pl); err != nil {
			return err
		}
		changes = changes || pl.changes
	}
	if !changes {
		for _, pl := range j.places {
			if err := p.adoptRecord(j, pl); err != nil {
				return err
			}
		}
		return nil
	}
	known, err := indexLayers(p.dir)
	if err != nil {
		return err
	}
	if p.opts.DryRun {
		return p.preview(ctx, j, known)
	}
	return p.commit(ctx, j, known)
}

// compare finds out whether there is anything to do for a place.
func (p *Placement) compare(ctx context.Context, j *job, pl *spot) (err error) {
	if pl.damaged, err = p.damaged(ctx, pl.cur); err != nil {
		return err
	}
	pl.changes = pl.moved() || len(pl.damaged) > 0 || !p.sameLinks(j, pl)
	if !pl.changes {
		same, err := p.sameShown(j.target, pl)
		if err != nil {
			return err
		}
		pl.changes = !same
	}
	return nil
}

// sameLinks tells whether the record has the entrypoints that an image has now:
// for an artifact the index may say them, and change its mind.
func (p *Placement) sameLinks(j *job, pl *spot) bool {
	img, err := p.dir.Image(pl.cur.Digest)
	if err != nil || img == nil {
		return true
	}
	for _, l := range spec.EntryLinks() {
		if img.Labels[l.Label] != j.target.Labels[l.Label] {
			return false
		}
	}
	return true
}

// damaged lists the managed paths of a tree that are not as recorded.
func (p *Placement) damaged(ctx context.Context, cur *bootdir.Tree) (map[string]bool, error) {
	if cur == nil {
		return nil, nil
	}
	problems, err := p.dir.Drift(ctx, cur, p.opts.Checksum)
	damaged := map[string]bool{}
	for _, problem := range problems {
		damaged[problem.Path] = true
	}
	return damaged, err
}

// adoptRecord handles a reference that moved without changing this tree, such
// as an index in which another platform was replaced.
func (p *Placement) adoptRecord(j *job, pl *spot) error {
	updated, next := *pl.cur, pl.next
	updated.Reference, updated.Scheme, updated.TagDigest = next.Reference, next.Scheme, next.TagDigest
	updated.Layout, updated.Set, updated.Selection = next.Layout, next.Set, next.Selection
	updated.Catalog, updated.Release, updated.Keep, updated.Menu = next.Catalog, next.Release, next.Keep, next.Menu
	if p.opts.Trust != nil || pl.cur.Reference != next.Reference || pl.cur.TagDigest != next.TagDigest {
		// What was accepted was another reference, or another index.
		updated.Policy, updated.Evidence = next.Policy, next.Evidence
	}
	updated.Pinned = j.pin
	if !p.opts.DryRun {
		if err := p.dir.UpdateTree(&updated); err != nil {
			return err
		}
	}
	p.unchangedReport(&updated, j.top, j.meter)
	return nil
}

// newReport starts the report of a tree with what the meter says.
func (p *Placement) newReport(t *bootdir.Tree, top ocispec.Descriptor, m *Meter) TreeReport {
	r := TreeReport{Reference: t.Reference, Digest: t.Digest, Platform: t.Platform, Path: t.Live, Layout: t.Layout, Pinned: t.Pinned, DryRun: p.opts.DryRun}
	if spec.IsIndex(top.MediaType) {
		r.IndexDigest = top.Digest.String()
	}
	m.read(&r)
	return r
}

func (p *Placement) unchangedReport(t *bootdir.Tree, top ocispec.Descriptor, m *Meter) {
	r := p.newReport(t, top, m)
	r.Files.Kept = len(t.Files)
	for _, f := range t.Files {
		r.Bytes.Reused += f.Size
	}
	p.reports = append(p.reports, r)
}

func countPlan(r *TreeReport, plan *Plan) {
	for _, it := range plan.Items {
		if it.Type != spec.TypeFile {
			continue
		}
		switch it.Op {
		case OpWrite, OpLink: // a new inode at its path either way
			r.Files.Written++
		case OpRemove:
			r.Files.Removed++
		default:
			r.Files.Kept++
		}
	}
}

// dirStage lets an intake write into a bootdir stage.
type dirStage struct{ *bootdir.Stage }

func (s dirStage) Create(path string, size int64) (stagedFile, error) {
	return s.Stage.Create(path, size)
}
