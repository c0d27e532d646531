package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// run is one run over a mirror.
type run struct {
	client *transport.Client
	opts   Options
	wanted []spec.Platform
	tree   *tree
	here   transport.Source // the blobs of the tree, which lie as in a layout; nil: none yet
	state  *state
	report *Report
	fetch  chan struct{} // a token for each blob that is being fetched
	tags   tagLists
	step   func() error // see tree

	missing atomic.Int64

	mu       sync.Mutex
	flights  map[digest.Digest]*flight
	repos    map[string]*repository
	unlisted bool // it is not known what a pattern stands for, or it takes nothing
	boot     map[string]bootWish
	trees    []treeWish
	total    int // references
}

// repository is what a run knows of a repository of the mirror.
type repository struct {
	pending int  // items that are not done
	listed  bool // tags/list is written
}

// Run brings what refs name into the mirror and reports on each. A reference that
// fails does not stop the others, and what it named before stays. The report is
// never nil. The error is an *Error if references failed, a *LockedError while
// another run fills the mirror, or tells that nothing was begun.
func Run(ctx context.Context, c *transport.Client, refs []Reference, o Options) (*Report, error) {
	return start(ctx, c, refs, o, func(*run) {})
}

// start is Run with a look at the run before it begins, for tests.
func start(ctx context.Context, c *transport.Client, refs []Reference, o Options, look func(*run)) (*Report, error) {
	report := &Report{
		DryRun: o.DryRun, Images: []Image{}, Failures: []Failure{}, Boot: []BootTree{}, Leaving: []Leaving{},
		Removed: Removed{Tags: []string{}, Boot: []string{}},
	}
	wanted, err := o.complete()
	if err != nil {
		return report, err
	}
	before := c.Usage()
	r := &run{
		client: c, opts: o, wanted: wanted, report: report, fetch: make(chan struct{}, o.Jobs), tags: tagLists{client: c},
		flights: map[digest.Digest]*flight{}, repos: map[string]*repository{}, boot: map[string]bootWish{},
	}
	look(r)
	err = r.do(ctx, refs)
	now := c.Usage()
	report.Requests, report.Fetched = now.Requests-before.Requests, now.Bytes-before.Bytes
	report.Missing = r.missing.Load()
	if len(report.Failures) > 0 && ctx.Err() == nil {
		err = errors.Join(&Error{Failures: report.Failures, Total: r.total}, err)
	}
	return report, err
}

func (r *run) do(ctx context.Context, refs []Reference) error {
	var known []transport.Reference
	for _, ref := range refs {
		if ref.Pattern == "" {
			known = append(known, ref.Reference)
		}
	}
	if _, err := places(known, r.opts.Repository); err != nil {
		return err // before anything is asked or made
	}
	r.total = len(refs)
	closeTree, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer closeTree()
	all, err := expand(ctx, &r.tags, refs, func(ref string, err error) {
		r.unlisted = true
		r.fail(ref, err)
	})
	if err != nil {
		return err
	}
	items, err := places(all, r.opts.Repository)
	if err != nil {
		return err
	}
	r.total = max(r.total, len(items))
	if err := r.copyAll(ctx, items); err != nil {
		return err
	}
	if err := r.layOut(ctx); err != nil {
		return err
	}
	if err := r.prune(ctx, items); err != nil {
		return err
	}
	return r.tidy()
}

// open opens and locks the tree, and makes what every tree has.
func (r *run) open(ctx context.Context) (closeTree func(), err error) {
	if r.tree, err = openTree(r.opts.Dir, !r.opts.DryRun); err != nil {
		return nil, err
	}
	r.tree.step = r.step
	var held []func() error
	closeTree = func() {
		for _, f := range slices.Backward(held) {
			_ = f() // nothing is written any more
		}
	}
	held = append(held, r.tree.close)
	if !r.opts.DryRun {
		lock, err := r.prepare()
		if err != nil {
			closeTree()
			return nil, err
		}
		held = append(held, lock.Close)
	}
	if r.tree.root != nil {
		if r.here, err = r.client.Source(ctx, transport.Reference{Transport: transport.OCI, Name: r.opts.Dir}); err != nil {
			closeTree()
			return nil, err
		}
		held = append(held, r.here.Close)
	}
	if r.state, err = r.tree.readState(); err != nil {
		closeTree()
		return nil, err
	}
	return closeTree, nil
}

// prepare makes the places of the writer, takes the lock and writes what every
// mirror has.
func (r *run) prepare() (lock *os.File, err error) {
	t, dirty := r.tree, &dirs{}
	if err := t.root.Mkdir(mirrortree.State, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the mirror: %w", err)
	}
	if err := t.mkdir(stateDir, dirty); err != nil {
		return nil, err
	}
	if lock, err = t.lock(); err != nil {
		return nil, err
	}
	if err = t.root.RemoveAll(tmpDir); err == nil {
		err = r.skeleton(dirty)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the mirror: %w", err), lock.Close())
	}
	return lock, nil
}

func (r *run) skeleton(dirty *dirs) error {
	for _, dir := range []string{tmpDir, partialDir, mirrortree.Blobs + "/sha256", mirrortree.V2} {
		if err := r.tree.mkdir(dir, dirty); err != nil {
			return err
		}
	}
	if err := r.tree.putIfOther(mirrortree.Ping, []byte("{}"), dirty); err != nil {
		return err
	}
	if err := r.tree.putIfOther(mirrortree.EmptyIndex, indexOf(nil), dirty); err != nil {
		return err
	}
	return r.tree.sync(dirty)
}

// copyAll brings all items, several at once, and then the lists of tags, also
// when it was interrupted: what was done is done.
func (r *run) copyAll(ctx context.Context, items []item) error {
	for _, it := range items {
		if r.repos[it.name] == nil {
			r.repos[it.name] = &repository{}
		}
		r.repos[it.name].pending++
	}
	images := make([]*Image, len(items))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.opts.Jobs)
	for i, it := range items {
		g.Go(func() error {
			image, err := r.bring(gctx, it, i)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.fail(it.ref.String(), err)
			} else {
				images[i] = image
			}
			return r.itemDone(it.name)
		})
	}
	err := g.Wait()
	for _, image := range images {
		if image == nil {
			continue
		}
		r.report.Images = append(r.report.Images, *image)
		if image.Changed {
			r.report.Changed++
		} else {
			r.report.Unchanged++
		}
	}
	return errors.Join(err, r.listAll())
}

// fail notes that a reference failed.
func (r *run) fail(reference string, err error) {
	if r.total > 1 {
		r.opts.Warn("%s: %v", reference, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Failures = append(r.report.Failures, Failure{Reference: reference, Message: err.Error(), err: err})
}
