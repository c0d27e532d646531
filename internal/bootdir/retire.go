//go:build linux

package bootdir

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Retire removes a live tree, its record, and the generations that no other
// tree has. The live path goes by one rename for each unit, so that a reader
// sees the whole tree or none of it. A tree in which the site has files is left
// as it is (*OccupiedError), and so is one from which machines are booting
// (*HeldError, see Hold); one that is pinned is the caller's to spare.
//
// A run that is cut off leaves the record for another Retire, or for a pull that
// wants the tree back. Files that come between the look and the rename are found
// afterwards in the state directory, below "kept", and stay there.
func (d *Dir) Retire(ctx context.Context, live string) error {
	if err := errors.Join(ctx.Err(), d.needLock()); err != nil {
		return err
	}
	t, err := d.Tree(live)
	if err != nil || t == nil {
		return err
	}
	r, err := d.retirement(t)
	if err != nil {
		return err
	}
	release, err := d.claimAlone(t)
	if err != nil {
		return err
	}
	defer release()
	if err := r.run(); err != nil {
		return fmt.Errorf("remove boot tree %q: %w", live, err)
	}
	return d.dropTree(live)
}

// retirement says what goes with a tree.
func (d *Dir) retirement(t *Tree) (*retirement, error) {
	managed, err := d.managedPaths(t)
	if err != nil {
		return nil, err
	}
	r := &retirement{d: d, live: t.Live, managed: managed}
	for _, e := range t.Beside() {
		// They lead into the tree, so they go before it.
		r.tops = append(r.tops, e.Path)
		managed[besideKey(e.Path)] = false
	}
	if t.Live == FlatLive {
		r.tops = topsOf(managed)
	} else {
		r.tops = append(r.tops, t.Live)
	}
	return r, nil
}

// topsOf lists the first elements of paths.
func topsOf(paths map[string]bool) []string {
	var tops []string
	for p := range paths {
		top, _, _ := strings.Cut(p, "/")
		tops = append(tops, top)
	}
	slices.Sort(tops)
	return slices.Compact(tops)
}

// retirement is a tree on its way out.
type retirement struct {
	d       *Dir
	live    string
	managed map[string]bool // by path below the live path, or besideKey; true for directories
	tops    []string        // paths that go by one rename each
}

// inTree gives the path below the live path of a path below the boot directory.
func (r *retirement) inTree(p string) string {
	if r.live == FlatLive {
		return p
	}
	if p == r.live {
		return "."
	}
	if below, ok := strings.CutPrefix(p, r.live+"/"); ok {
		return below
	}
	return besideKey(p)
}

func (r *retirement) run() error {
	for _, top := range r.tops {
		if err := r.look(r.d.root, top); err != nil {
			return err
		}
	}
	kept, err := r.d.stateDir(keptName, true)
	if err != nil {
		return err
	}
	defer kept.close()
	if err := r.finish(kept); err != nil { // what an earlier run took out
		return err
	}
	if err := r.takeOutAll(kept); err != nil {
		return err
	}
	if err := r.finish(kept); err != nil {
		return err
	}
	if err := r.d.ops.rmdir(r.d.state, keptName); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	for _, top := range r.tops {
		if err := r.d.dropParents(top); err != nil {
			return err
		}
	}
	return nil
}

// retiredPrefix starts the names, below "kept", of what was taken out and is not
// empty yet. The record of its tree is still there and says what may go.
const retiredPrefix = "retired-"

func (r *retirement) name() string { return retiredPrefix + liveKey(r.live) }

// takeOutAll puts the units out of sight.
func (r *retirement) takeOutAll(kept *dirFD) error {
	if err := r.d.ops.mkdir(kept, r.name(), 0o700); err != nil {
		return err
	}
	aside, err := kept.open(r.name())
	if err != nil {
		return err
	}
	defer aside.close()
	for i, top := range r.tops {
		if err := r.takeOut(top, aside, fmt.Sprint(i)); err != nil {
			return err
		}
	}
	return nil
}

// finish empties what was taken out. What came late gets a name under which
// nothing is looked for any more.
func (r *retirement) finish(kept *dirFD) error {
	aside, err := kept.open(r.name())
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer aside.close()
	for i, top := range r.tops {
		if err := r.empty(aside, fmt.Sprint(i), top); err != nil {
			return err
		}
	}
	err = r.d.ops.rmdir(kept, r.name())
	if !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	late := "late-" + liveKey(r.live) + hex.EncodeToString(random)
	r.d.opts.Log("what came into %q while it was removed lies in %q now", r.live, kept.join(late))
	return r.d.ops.rename(kept, r.name(), kept, late)
}

// sweepRetired empties what removals that were cut off have taken out, before
// their trees may come back with other files.
func (d *Dir) sweepRetired() error {
	return d.inState(keptName, func(kept *dirFD, names []string) error {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, retiredPrefix) }) {
			return nil
		}
		trees, err := d.Trees()
		if err != nil {
			return err
		}
		for i := range trees {
			r, err := d.retirement(&trees[i])
			if err == nil && slices.Contains(names, r.name()) {
				err = r.finish(kept)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// look refuses entries that no image brought.
func (r *retirement) look(dir *dirFD, p string) error {
	st, err := dir.statPath(p)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	rel := r.inTree(p)
	if rel == "." && !isDir(st) {
		gen, err := r.d.linkedNow(r.live)
		if err == nil && gen == "" {
			err = &OccupiedError{r.live, rel}
		}
		return err
	}
	if wasDir, ours := r.managed[rel]; rel != "." && (!ours || wasDir != isDir(st)) {
		return &OccupiedError{r.live, rel}
	}
	if !isDir(st) {
		return nil
	}
	sub, err := dir.open(p)
	if err != nil {
		return err
	}
	defer sub.close()
	self, err := dir.self()
	if err != nil {
		return err
	}
	if mount, err := isMountPoint(sub, self.Dev); err != nil || mount {
		return errors.Join(err, &OccupiedError{r.live, rel})
	}
	names, err := sub.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := r.look(dir, path.Join(p, name)); err != nil {
			return err
		}
	}
	return nil
}

// takeOut puts one unit out of sight, if it is not by an earlier run.
func (r *retirement) takeOut(top string, aside *dirFD, name string) error {
	up, base, err := r.d.root.parent(top)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer up.close()
	if _, err := up.stat(base); isMissing(err) {
		return nil
	}
	if err := r.d.ops.renameNew(up, base, aside, name); err != nil {
		return err
	}
	return r.d.ops.fsync(up.fd, up.path)
}

// empty removes what is managed of a unit that was taken out; what came late
// stays, and so do the directories above it.
func (r *retirement) empty(at *dirFD, name, p string) error {
	st, err := at.stat(name)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	rel := r.inTree(p)
	wasDir, ours := r.managed[rel]
	switch {
	case isDir(st) && (rel == "." || ours && wasDir):
		dir, err := r.d.enter(at, name, st)
		if err != nil {
			return err
		}
		defer dir.close()
		names, err := dir.names()
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := r.empty(dir, n, path.Join(p, n)); err != nil {
				return err
			}
		}
		if err := r.d.ops.rmdir(at, name); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		return nil
	case !isDir(st) && (ours && !wasDir || rel == "."):
		return r.d.ops.unlink(at, name)
	}
	return nil
}

// dropParents removes the directories above a path that are empty now.
func (d *Dir) dropParents(p string) error {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		up, name, err := d.root.parent(dir)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = d.ops.rmdir(up, name)
		up.close()
		switch {
		case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EBUSY):
			return nil // in use, or not ours to remove
		case err != nil && !isMissing(err):
			return err
		}
	}
	return nil
}

// dropTree forgets a tree, and removes what only it has needed.
func (d *Dir) dropTree(live string) error {
	trees, err := d.Trees()
	if err != nil {
		return err
	}
	trees = slices.DeleteFunc(trees, func(t Tree) bool { return t.Live == live })
	// As for Prune: links that go change the times of files that others share.
	clean := d.cleanFiles(trees)
	records, err := d.stateDir(treesName, false)
	if err != nil {
		return err
	}
	defer records.close()
	delete(d.trees, treeRecordName(live))
	if err := d.ops.unlink(records, treeRecordName(live)); err != nil {
		return err
	}
	if err := d.ops.fsync(records.fd, records.path); err != nil {
		return err
	}
	if err := d.sweepImages(); err != nil {
		return err
	}
	return d.refreshClean(trees, clean)
}
