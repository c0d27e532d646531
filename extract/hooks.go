package extract

import (
	"context"
	"fmt"
	"time"
)

// Hooks are told of what happens to trees while it happens.
type Hooks interface {
	// PreCommit is called when a tree is staged whole and proved, before
	// anything of it is visible. An error vetoes the update of this tree, and
	// of no other. The lock of the boot directory is held.
	PreCommit(ctx context.Context, c *TreeChange) error
	// PostCommit is called when a tree has changed, with the lock still held.
	// Its error becomes a warning: the tree is live.
	PostCommit(ctx context.Context, c *TreeChange) error
	// Failed is called for each reference that could not be brought up to date.
	Failed(ctx context.Context, f *Failure)
}

// TreeChange is one update of one tree. Its strings come from images and
// registries: they are data, and fit for no shell.
type TreeChange struct {
	Reference string // as recorded
	Release   string // entry of a catalog index; empty without one
	Digest    string // manifest that is to be live
	OldDigest string // manifest that was live; empty for a first install
	TagDigest string // what the reference names now
	Platform  string
	Dir       string // boot directory
	Path      string // live path below it
	Stage     string // where the staged tree lies; empty once it is live
	Plan      *Plan  // what is written, linked, kept and removed
}

// VetoError says that a hook did not let an update through.
type VetoError struct {
	Path string // live path of the tree, which stays as it was
	Err  error  // what the hook said
}

// Error names the tree.
func (e *VetoError) Error() string {
	return fmt.Sprintf("the pre-commit hook refused the update of %q: %v", e.Path, e.Err)
}

// Unwrap gives what the hook said.
func (e *VetoError) Unwrap() error { return e.Err }

// ExitCode is 1, whatever the program of the hook ended with.
func (e *VetoError) ExitCode() int { return 1 }

// change describes an update of one tree for hooks.
func (p *Placement) change(pl *spot) *TreeChange {
	c := &TreeChange{
		Reference: pl.next.Reference, Release: pl.next.Release, Digest: pl.next.Digest, TagDigest: pl.next.TagDigest,
		Platform: pl.next.Platform, Dir: p.dir.Path(), Path: pl.next.Live, Plan: pl.plan,
	}
	if pl.cur != nil {
		c.OldDigest = pl.cur.Digest
	}
	return c
}

// mayCommit asks the hook before a tree becomes visible.
func (p *Placement) mayCommit(ctx context.Context, pl *spot, stage string) error {
	if p.opts.Hooks == nil || !pl.changes {
		return nil
	}
	c := p.change(pl)
	c.Stage = stage
	if err := p.opts.Hooks.PreCommit(ctx, c); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &VetoError{pl.next.Live, err}
	}
	return nil
}

// committed tells the hook of a tree that is live.
func (p *Placement) committed(ctx context.Context, pl *spot) {
	if p.opts.Hooks == nil {
		return
	}
	if err := p.opts.Hooks.PostCommit(ctx, p.change(pl)); err != nil {
		p.opts.warnf("%s: the tree is live, but its post-commit hook failed: %v", pl.next.Live, err)
	}
}

// failed tells the hook what ended a pull, which is its first failure. It gives
// the error back.
func (o Options) failed(ctx context.Context, reference string, err error) error {
	if o.Hooks == nil || o.DryRun {
		return err
	}
	f := NewFailure(err)
	if f.Kind == FailInterrupted {
		return err
	}
	f.Destination, f.Reference, f.Since = o.Dir, reference, time.Now().UTC()
	if o.Now != nil {
		f.Since = o.Now().UTC()
	}
	o.Hooks.Failed(ctx, f)
	return err
}
