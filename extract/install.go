package extract

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// aim gives the live path of a target, which must be its own in this run.
func (p *puller) aim(t *target) (string, error) {
	labels, err := withSet(t.labels, p.opts.Set)
	if err != nil {
		return "", err
	}
	live, err := livePath(p.opts.Layout, labels)
	if err != nil {
		return "", err
	}
	if err := p.claim(live, t.desc.Digest.String()); err != nil {
		return "", err
	}
	return live, p.dir.CheckLive(live)
}

// install makes one live tree equal to one manifest, or in a dry run says
// what that would take.
func (p *puller) install(ctx context.Context, j *job) error {
	var err error
	if j.cur, err = p.dir.Tree(j.next.Live); err != nil {
		return err
	}
	j.next.Mode = p.mode(j.cur)
	if j.cur != nil && j.next.Catalog == "" {
		// A pull by hand does not take a tree out of its catalogue.
		j.next.Catalog, j.next.Keep = j.cur.Catalog, j.cur.Keep
	}
	if j.cur != nil && j.cur.Pinned {
		p.opts.logf("%s is pinned to %s by a rollback; nbextract unpin lets it follow %q again", j.cur.Live, j.cur.Digest, j.next.Reference)
		if err := p.admitPinned(ctx, j); err != nil {
			return err
		}
		return p.repairPinned(ctx, j)
	}
	if err := p.refuseDowngrade(j.target, j.cur, j.next.Reference); err != nil {
		return err
	}
	p.tellMovedBack(j)
	return p.apply(ctx, j)
}

// tellMovedBack warns of a reference that names again what it had left behind:
// that may be a publisher's decision, or somebody who offers old content anew.
func (p *puller) tellMovedBack(j *job) {
	if j.cur == nil || j.cur.Digest == j.next.Digest || j.cur.Reference != j.next.Reference {
		return
	}
	for _, g := range j.cur.History {
		if g.Digest == j.next.Digest && !g.Superseded.IsZero() {
			p.opts.warnf("%s: %q names %s again, which was replaced on %s", j.cur.Live, j.next.Reference, g.Digest, g.Superseded.UTC().Format("2006-01-02 15:04"))
			return
		}
	}
}

// repairPinned keeps a pinned tree as it was rolled back to: what is missing or
// damaged comes back, and nothing else changes.
func (p *puller) repairPinned(ctx context.Context, j *job) error {
	damaged, err := p.damaged(ctx, j.cur)
	if err != nil {
		return err
	}
	if len(damaged) == 0 {
		p.unchangedReport(j.cur, j.top, j.meter)
		return nil
	}
	t, err := (&resolver{src: j.src, mem: p.dir, ref: j.cur.Reference}).recall(ctx, j.cur.Digest)
	if err != nil {
		return fmt.Errorf("repair %q: %w", j.cur.Live, err)
	}
	next := *j.cur
	j.target, j.next, j.pin = t, &next, true
	return p.apply(ctx, j)
}

// job is one tree on its way from what is recorded to what is wanted.
type job struct {
	src    transport.Source
	meter  *meter
	target *target
	cur    *bootdir.Tree // nil for a first install
	next   *bootdir.Tree
	top    ocispec.Descriptor
	pin    bool
	// dropped says that another reference of this run makes the same tree.
	dropped bool
}

// moved says that the tree gets another manifest or form, be its files the same.
func (j *job) moved() bool {
	return j.cur == nil || j.cur.Digest != j.next.Digest || j.cur.Mode != j.next.Mode
}

// standing lists what is at the live path: nothing of ours where that is gone.
func (p *puller) standing(j *job, damaged map[string]bool) []spec.Entry {
	if damaged["."] {
		return nil
	}
	return recorded(p.dir, j.cur)
}

func (p *puller) mode(cur *bootdir.Tree) bootdir.LiveMode {
	switch {
	case p.opts.Live != "":
		return p.opts.Live
	case cur != nil:
		return cur.Mode
	}
	return bootdir.ModeDir
}

// apply plans, and unless this is a dry run stages and commits.
func (p *puller) apply(ctx context.Context, j *job) error {
	damaged, err := p.damaged(ctx, j.cur)
	if err != nil {
		return err
	}
	if !j.moved() && len(damaged) == 0 && p.sameLinks(j) {
		return p.adoptRecord(j)
	}
	known, err := indexLayers(p.dir)
	if err != nil {
		return err
	}
	if p.opts.DryRun {
		return p.preview(ctx, j, known, damaged)
	}
	return p.commit(ctx, j, known, damaged)
}

// sameLinks tells whether the record has the entrypoints that an image has now:
// for an artifact the index may say them, and change its mind.
func (p *puller) sameLinks(j *job) bool {
	img, err := p.dir.Image(j.cur.Digest)
	if err != nil || img == nil {
		return true
	}
	for _, l := range spec.EntryLinks() {
		if img.Labels[l.Label] != j.target.labels[l.Label] {
			return false
		}
	}
	return true
}

// damaged lists the managed paths of a tree that are not as recorded.
func (p *puller) damaged(ctx context.Context, cur *bootdir.Tree) (map[string]bool, error) {
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
func (p *puller) adoptRecord(j *job) error {
	updated := *j.cur
	updated.Reference, updated.Scheme, updated.TagDigest = j.next.Reference, j.next.Scheme, j.next.TagDigest
	updated.Layout, updated.Set, updated.Selection = j.next.Layout, j.next.Set, j.next.Selection
	updated.Catalog, updated.Release, updated.Keep = j.next.Catalog, j.next.Release, j.next.Keep
	if p.opts.Trust != nil || j.cur.Reference != j.next.Reference || j.cur.TagDigest != j.next.TagDigest {
		// What was accepted was another reference, or another index.
		updated.Policy, updated.Evidence = j.next.Policy, j.next.Evidence
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

// preview reads what a plan needs, which is the checksum list, and reports.
func (p *puller) preview(ctx context.Context, j *job, known layerIndex, damaged map[string]bool) error {
	in, err := p.look(ctx, j, known)
	if err != nil {
		return err
	}
	if err := in.survey(ctx); err != nil {
		return err
	}
	want, complete := in.foreseen()
	if err := p.dir.CheckSite(j.next.Live, want); err != nil {
		return err
	}
	plan := newPlan(j.next.Live, j.next.Digest, want, p.standing(j, damaged), damaged, complete, p.dir)
	r := p.newReport(j.next, j.top, j.meter)
	r.DryRun, r.Plan, r.Itemized = true, plan, plan
	r.Changed = plan.Changes() || j.moved()
	countPlan(&r, plan)
	p.report.Trees = append(p.report.Trees, r)
	return nil
}

// look finds the checksum list of an image, and stages nothing.
func (p *puller) look(ctx context.Context, j *job, known layerIndex) (*intake, error) {
	for {
		in := newIntake(j.src, j.target, known, nowhere{}, nil)
		in.stock, in.logf = p.dir, p.opts.logf
		if err := in.findSums(ctx); !mirrorLied(err) {
			return in, err
		}
	}
}

// commit stages the whole tree and swaps it in. If a short cut may be the reason
// that this fails (the beginning of a blob that an earlier run has kept, a list that
// was read before its layer was proved), it is done once more without, and so it is
// without a mirror that lied.
func (p *puller) commit(ctx context.Context, j *job, known layerIndex, damaged map[string]bool) error {
	err := errOnceMore
	for noResume := false; errors.Is(err, errOnceMore) || mirrorLied(err); {
		var stage *bootdir.Stage
		if stage, err = p.dir.Begin(ctx, j.next.Live); err != nil {
			return err
		}
		in := newIntake(j.src, j.target, known, dirStage{stage}, p.opts.Progress)
		in.stock, in.dir, in.disk, in.logf, in.noResume = p.dir, p.dir, stage, p.opts.logf, noResume
		err = p.fill(ctx, j, in, stage, damaged)
		noResume = noResume || errors.Is(err, errOnceMore)
		if err != nil && (keepTorn(err) || mirrorLied(err)) {
			stage.Suspend()
		} else if err != nil {
			in.dropBeginnings()
		}
		stage.Discard()
	}
	return err
}

// errOnceMore reports that a short cut did not lead to the end.
var errOnceMore = errors.New("a short cut failed")

// fill stages the tree, and commits it.
func (p *puller) fill(ctx context.Context, j *job, in *intake, stage *bootdir.Stage, damaged map[string]bool) error {
	if err := in.findSums(ctx); err != nil {
		return in.blame(err)
	}
	in.old = p.standing(j, damaged)
	if err := in.survey(ctx); err != nil {
		return err
	}
	want, _ := in.foreseen()
	if err := p.dir.CheckSite(j.next.Live, want); err != nil {
		return err
	}
	plan := newPlan(j.next.Live, j.next.Digest, want, in.old, damaged, false, p.dir)
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
	// While the records still tell what was there before.
	lost := plan.lost(damaged)
	maps.Copy(lost, in.spoiled)
	plan = newPlan(j.next.Live, j.next.Digest, entries, in.old, lost, true, p.dir)
	j.next.Pinned = j.pin
	if err := p.refuseRevoked(j, entries, stage.Path()); err != nil {
		return err
	}
	if err := p.mayCommit(ctx, j, plan, stage.Path()); err != nil {
		return err
	}
	image, lists := j.image(in, entries)
	result, err := stage.Commit(ctx, image, j.next)
	if err != nil {
		return fmt.Errorf("install %q: %w", j.next.Live, err)
	}
	p.keepLists(image.Digest, lists)
	for _, w := range result.Warnings {
		p.opts.warnf("%s: %s", j.next.Live, w)
	}
	r := p.newReport(j.next, j.top, j.meter)
	r.Changed = result.Changed || j.moved()
	countPlan(&r, plan)
	// What was linked and what had to be copied is known only now.
	r.Files.Written, r.Files.Kept = result.Written, result.Kept
	r.Bytes.Reused = in.reusedBytes(entries)
	r.Itemized = plan
	p.report.Trees = append(p.report.Trees, r)
	if r.Changed {
		p.committed(ctx, j, plan)
	}
	return nil
}

// room asks for space before the payload is fetched: for what the layers that
// must be read declare to unpack to (for those that do not declare it, the size
// of the blob is the least), without what the stage took from the disk, and for
// an inode for every new file, and for every name of a tree and its generation.
func (p *puller) room(in *intake, want []spec.Entry) error {
	var bytes int64
	for i, l := range in.target.layers {
		if _, ok := in.replayable(i); ok || in.entries[i] != nil {
			continue
		}
		if bytes += l.space(); bytes < 0 {
			bytes = math.MaxInt64 // what is declared may be anything
		}
	}
	bytes += in.beginnings()
	bytes -= in.known.sizeOf(in.reused)
	inodes := int64(len(want) - len(in.staged))
	for _, e := range want {
		if e.Type != spec.TypeFile {
			inodes++
		}
	}
	return p.dir.Space(max(bytes, 0), inodes)
}

// image is what is recorded of a manifest, and the chunk lists that go with it.
func (j *job) image(in *intake, entries []spec.Entry) (*bootdir.Image, []keptList) {
	t := j.target
	var layers []bootdir.Layer
	var lists []keptList
	for i, l := range t.layers {
		r := l.record()
		r.Entries = in.entries[i]
		for _, list := range in.chunkListsOf(i) {
			r.Chunks = append(r.Chunks, list.ChunkList)
			lists = append(lists, list)
		}
		layers = append(layers, r)
	}
	return &bootdir.Image{
		Policy: j.next.Policy, Evidence: j.next.Evidence,
		Digest: t.desc.Digest.String(), MediaType: t.desc.MediaType,
		Manifest: t.manifestBytes, Config: t.configBytes, Platform: t.platformName(),
		Labels: t.labels, Created: t.created, Layers: layers, Sums: in.sumList, Entries: entries,
	}, lists
}

// newReport starts the report of a tree with what the meter says.
func (p *puller) newReport(t *bootdir.Tree, top ocispec.Descriptor, m *meter) TreeReport {
	r := TreeReport{Reference: t.Reference, Digest: t.Digest, Platform: t.Platform, Path: t.Live, Pinned: t.Pinned, DryRun: p.opts.DryRun}
	if spec.IsIndex(top.MediaType) {
		r.IndexDigest = top.Digest.String()
	}
	m.read(&r)
	return r
}

func (p *puller) unchangedReport(t *bootdir.Tree, top ocispec.Descriptor, m *meter) {
	r := p.newReport(t, top, m)
	r.Files.Kept = len(t.Files)
	for _, f := range t.Files {
		r.Bytes.Reused += f.Size
	}
	p.report.Trees = append(p.report.Trees, r)
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
