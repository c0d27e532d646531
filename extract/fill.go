package extract

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// preview reads what a plan needs, which is the checksum list, and reports.
func (p *Placement) preview(ctx context.Context, j *job, known layerIndex) error {
	in, err := p.look(ctx, j, known)
	if err != nil {
		return err
	}
	if err := in.survey(ctx); err != nil {
		return err
	}
	want, complete := in.foreseen()
	for _, pl := range j.places {
		if err := p.clear(pl, j.target, want); err != nil {
			return err
		}
		a, err := pl.arrangement(j.target, want, !complete)
		if err != nil {
			return err
		}
		pl.plan = newPlan(pl.next.Live, pl.next.Digest, shown(a, want), p.standing(pl), pl.damaged, complete, p.dir)
		r := p.newReport(pl.next, j.top, j.meter)
		r.DryRun, r.Plan, r.Itemized = true, pl.plan, pl.plan
		r.Changed = pl.plan.Changes() || pl.moved()
		countPlan(&r, pl.plan)
		p.reports = append(p.reports, r)
	}
	return nil
}

// look finds the checksum list of an image, and stages nothing.
func (p *Placement) look(ctx context.Context, j *job, known layerIndex) (*intake, error) {
	for {
		in := newIntake(j.src, j.target, known, nowhere{}, nil)
		in.stock, in.logf = p.dir, p.opts.logf
		if err := in.findSums(ctx); !transport.MirrorLied(err) {
			return in, err
		}
	}
}

// commit stages the whole tree and swaps it in. If a short cut may be the reason
// that this fails (the beginning of a blob that an earlier run has kept, a list that
// was read before its layer was proved), it is done once more without, and so it is
// without a mirror that lied.
func (p *Placement) commit(ctx context.Context, j *job, known layerIndex) error {
	err := errOnceMore
	for noResume := false; errors.Is(err, errOnceMore) || transport.MirrorLied(err); {
		var stage *bootdir.Stage
		if stage, err = p.begin(ctx, j); err != nil {
			return err
		}
		in := newIntake(j.src, j.target, known, dirStage{stage}, p.opts.Progress)
		in.stock, in.dir, in.disk, in.logf, in.noResume = p.dir, p.dir, stage, p.opts.logf, noResume
		err = p.fill(ctx, j, in, stage)
		noResume = noResume || errors.Is(err, errOnceMore)
		if err != nil && (keepTorn(err) || transport.MirrorLied(err)) {
			stage.Suspend()
		} else if err != nil {
			in.dropBeginnings()
		}
		stage.Discard()
	}
	return err
}

// begin makes a stage whose trees get the attributes of the job's.
func (p *Placement) begin(ctx context.Context, j *job) (*bootdir.Stage, error) {
	pl := j.main()
	stage, err := p.dir.Begin(ctx, pl.next.Live)
	if err != nil {
		return nil, err
	}
	if err := stage.Wear(pl.next.Attributes); err != nil {
		stage.Discard()
		return nil, err
	}
	return stage, nil
}

// errOnceMore reports that a short cut did not lead to the end.
var errOnceMore = errors.New("a short cut failed")

// fill stages the image, and commits its trees.
func (p *Placement) fill(ctx context.Context, j *job, in *intake, stage *bootdir.Stage) error {
	if err := in.findSums(ctx); err != nil {
		return in.blame(err)
	}
	main := j.main()
	if !main.damaged["."] {
		in.old = recorded(p.dir, main.cur)
	}
	if err := in.survey(ctx); err != nil {
		return err
	}
	want, _ := in.foreseen()
	damaged := map[string]bool{}
	for _, pl := range j.places {
		if err := p.clear(pl, j.target, want); err != nil {
			return err
		}
		maps.Copy(damaged, pl.sources(pl.damaged))
	}
	plan := newPlan(main.next.Live, main.next.Digest, want, in.old, damaged, false, p.dir)
	if err := in.reuse(ctx, plan); err != nil {
		return err
	}
	if err := p.room(in, want); err != nil {
		return err
	}
	if err := in.readRest(ctx); err != nil {
		return in.blame(err)
	}
	entries, err := in.finish()
	if err != nil {
		return err
	}
	lost := plan.lost(damaged)
	maps.Copy(lost, in.spoiled)
	// While the records still tell what was there before.
	for _, pl := range j.places {
		if err := p.planTree(ctx, j, pl, entries, lost, stage.Path()); err != nil {
			return err
		}
	}
	return p.commitTrees(ctx, j, in, entries, stage)
}

// planTree says what happens to one tree, and asks who may forbid it.
func (p *Placement) planTree(ctx context.Context, j *job, pl *spot, entries []spec.Entry, lost map[string]bool, stage string) (err error) {
	pl.next.Pinned = j.pin
	if pl.next.Arrangement, err = pl.arrangement(j.target, entries, false); err != nil {
		return err
	}
	pl.plan = newPlan(pl.next.Live, pl.next.Digest, shown(pl.next.Arrangement, entries), p.standing(pl), pl.lost(pl.next.Arrangement, lost), true, p.dir)
	if err := p.refuseRevoked(pl, entries, stage); err != nil {
		return err
	}
	return p.mayCommit(ctx, pl, stage)
}

// commitTrees makes what is staged the content of all trees of a job, and reports.
func (p *Placement) commitTrees(ctx context.Context, j *job, in *intake, entries []spec.Entry, stage *bootdir.Stage) error {
	image, lists := j.image(in, entries)
	var trees []*bootdir.Tree
	for _, pl := range j.places {
		trees = append(trees, pl.next)
	}
	if err := p.session.checkMenus(trees, image); err != nil {
		return err
	}
	results, err := stage.CommitAll(ctx, image, trees)
	if err != nil {
		return fmt.Errorf("install %q: %w", j.main().next.Live, err)
	}
	p.keepLists(image.Digest, lists)
	reused := in.reusedBytes(entries)
	for i, pl := range j.places {
		for _, w := range results[i].Warnings {
			p.opts.warnf("%s: %s", pl.next.Live, w)
		}
		r := p.newReport(pl.next, j.top, j.meter)
		r.Changed = results[i].Changed || pl.moved()
		countPlan(&r, pl.plan)
		// What was linked and what had to be copied is known only now.
		r.Files.Written, r.Files.Kept = results[i].Written, results[i].Kept
		r.Bytes.Reused = reused
		r.Itemized = pl.plan
		p.reports = append(p.reports, r)
		if r.Changed {
			p.committed(ctx, pl)
		}
	}
	return nil
}

// image is what is recorded of a manifest, and the chunk lists that go with it.
func (j *job) image(in *intake, entries []spec.Entry) (*bootdir.Image, []keptList) {
	t := j.target
	var layers []bootdir.Layer
	var lists []keptList
	for i, l := range in.layers {
		r := l.record()
		r.Entries = in.entries[i]
		for _, list := range in.chunkListsOf(i) {
			r.Chunks = append(r.Chunks, list.ChunkList)
			lists = append(lists, list)
		}
		layers = append(layers, r)
	}
	return &bootdir.Image{
		Policy: j.places[0].next.Policy, Evidence: j.places[0].next.Evidence,
		Digest: t.Descriptor.Digest.String(), MediaType: t.Descriptor.MediaType,
		Manifest: t.ManifestBytes, Config: t.ConfigBytes, Platform: t.PlatformName(),
		Labels: t.Labels, Created: t.Created, Layers: layers, Sums: in.sumList, Entries: entries,
	}, lists
}
