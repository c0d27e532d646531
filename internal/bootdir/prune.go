//go:build linux

package bootdir

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Prune removes generations: of each tree all but the newest keep (the live
// one counts; a tree's own Keep overrules it), if they were superseded at least grace ago. The live generation
// of any tree stays, and so does the whole history of a pinned tree, and what
// somebody holds (see Hold). It gives the digests that were removed. Directories in by-digest that no record knows
// are left alone. Partial downloads that are too old go too.
func (d *Dir) Prune(ctx context.Context, keep int, grace time.Duration) ([]string, error) {
	if err := d.needLock(); err != nil {
		return nil, err
	}
	d.agePartials()
	trees, err := d.Trees()
	if err != nil {
		return nil, err
	}
	if err := d.correctTimes(trees); err != nil {
		return nil, err
	}
	needed, dropped := d.divide(trees, keep, grace)
	var gone []string
	for _, digest := range dropped {
		if !needed[digest] {
			gone = append(gone, digest)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	// Removing links changes the change time of files that live trees share;
	// those that are as recorded now need not be hashed for that.
	clean := d.cleanFiles(trees)
	var removed []string
	for _, digest := range gone {
		if ctx.Err() != nil {
			err = ctx.Err()
			break
		}
		release, ok := d.claim(digest)
		if !ok {
			d.opts.Log("generation %s stays for now: machines are booting from it", digest)
			continue
		}
		err = d.pruneOne(trees, digest)
		if release != nil {
			release()
		}
		if err != nil {
			err = fmt.Errorf("prune %s: %w", digest, err)
			break
		}
		removed = append(removed, digest)
	}
	if rerr := d.refreshClean(trees, clean); err == nil {
		err = rerr
	}
	return removed, err
}

// correctTimes lets the grace time of generations begin now that were superseded
// under a clock which was ahead: they would stay until it was right.
func (d *Dir) correctTimes(trees []Tree) error {
	now := d.opts.Now().UTC()
	for i := range trees {
		wrong := false
		for k := range trees[i].History {
			if g := &trees[i].History[k]; g.Superseded.After(now) {
				g.Superseded, wrong = now, true
			}
		}
		if wrong {
			if err := d.writeTree(&trees[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// divide tells which generations must stay, and lists the others once.
func (d *Dir) divide(trees []Tree, keep int, grace time.Duration) (map[string]bool, []string) {
	now := d.opts.Now()
	needed := map[string]bool{}
	var dropped []string
	for _, t := range trees {
		keep := keep
		if t.Keep > 0 {
			keep = t.Keep
		}
		for i, g := range t.History {
			if i == 0 || i < keep || t.Pinned || now.Sub(g.Superseded) < grace {
				needed[g.Digest] = true
			} else if !slices.Contains(dropped, g.Digest) {
				dropped = append(dropped, g.Digest)
			}
		}
	}
	return needed, dropped
}

// pruneOne takes a generation out of the histories first: a run that is cut
// off then leaves facts without a tree, which the next Open removes with their
// generation.
func (d *Dir) pruneOne(trees []Tree, digest string) error {
	for i := range trees {
		t := &trees[i]
		n := len(t.History)
		t.History = slices.DeleteFunc(t.History, func(g Generation) bool { return g.Digest == digest })
		if len(t.History) != n {
			if err := d.writeTree(t); err != nil {
				return err
			}
		}
	}
	hex, err := digestHex(digest)
	if err != nil {
		return err
	}
	images, err := d.stateDir(imagesName, false)
	if isMissing(err) {
		return d.removeGeneration(hex)
	}
	if err != nil {
		return err
	}
	defer images.close()
	if _, err := images.stat(hex + ".json"); isMissing(err) {
		return d.removeGeneration(hex)
	}
	return d.forget(images, hex+".json")
}

// cleanFiles gives for each tree the recorded files that look exactly as
// recorded.
func (d *Dir) cleanFiles(trees []Tree) []map[string]bool {
	clean := make([]map[string]bool, len(trees))
	for i, t := range trees {
		clean[i] = map[string]bool{}
		base, err := d.openManaged(t.Live)
		if err != nil || base == nil {
			continue
		}
		cursor := newCursor(base)
		for _, f := range t.Files {
			if st, err := cursor.stat(f.Path); err == nil && stateOf(f.Path, st) == f {
				clean[i][f.Path] = true
			}
		}
		cursor.close()
		base.close()
	}
	return clean
}

// refreshClean records the new change times of the files that were clean.
func (d *Dir) refreshClean(trees []Tree, clean []map[string]bool) error {
	for i := range trees {
		t := &trees[i]
		base, err := d.openManaged(t.Live)
		if err != nil || base == nil {
			continue
		}
		before := slices.Clone(t.Files)
		refreshStates(base, t)
		base.close()
		for k, f := range before {
			if !clean[i][f.Path] {
				t.Files[k] = f
			}
		}
		if slices.Equal(before, t.Files) {
			continue
		}
		if err := d.writeTree(t); err != nil {
			return err
		}
	}
	return nil
}
