//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// isMountPoint tells whether an open directory is the root of a mount. dev is
// the device that it should be on.
func isMountPoint(d *dirFD, dev uint64) (bool, error) {
	st, err := d.self()
	if err != nil {
		return false, err
	}
	if st.Dev != dev {
		return true, nil
	}
	// A bind mount has the same device; kernels since 5.8 mark it.
	var stx unix.Statx_t
	err = retry(func() error { return unix.Statx(d.fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &stx) })
	if err != nil {
		return false, nil
	}
	return stx.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && stx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// removeAll removes an entry of the state directory with all that is in it. No
// link is followed and no mount point is entered.
func (d *Dir) removeAll(at *dirFD, name string) error {
	st, err := at.stat(name)
	if err != nil {
		return err
	}
	if !isDir(st) {
		return d.ops.unlink(at, name)
	}
	dir, err := d.enter(at, name, st)
	if err != nil {
		return err
	}
	defer dir.close()
	mount, err := isMountPoint(dir, st.Dev)
	if err != nil {
		return err
	}
	self, err := at.self()
	if err != nil {
		return err
	}
	if mount || self.Dev != st.Dev {
		return fmt.Errorf("%q is a mount point", dir.path)
	}
	names, err := dir.names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := d.removeAll(dir, n); err != nil {
			return err
		}
	}
	return d.ops.rmdir(at, name)
}

// enter opens a directory that is to be emptied, also when its mode denies
// that to its owner.
func (d *Dir) enter(at *dirFD, name string, st *unix.Stat_t) (*dirFD, error) {
	dir, err := at.open(name)
	if !errors.Is(err, unix.EACCES) && (err != nil || perm(st)&0o700 == 0o700) {
		return dir, err
	}
	if dir == nil {
		cerr := d.ops.do("chmod", at.join(name), func() error { return unix.Fchmodat(at.fd, name, 0o700, 0) })
		if cerr != nil {
			return nil, err
		}
		return at.open(name)
	}
	// Not ours perhaps: then emptying it may fail, or not be needed.
	_ = d.ops.chmod(dir.fd, dir.path, perm(st)|0o700)
	return dir, nil
}

// tidy brings a directory that was just locked into the state between two
// commits.
func (d *Dir) tidy() error {
	if err := d.recover(); err != nil {
		return err
	}
	if err := d.sweepStages(); err != nil {
		return err
	}
	if err := d.sweepRetired(); err != nil {
		d.opts.Log("cannot remove what an earlier run left: %v", err)
	}
	for _, kind := range []string{".", imagesName, treesName, chunksName} {
		if err := d.sweepTemporary(kind); err != nil {
			return err
		}
	}
	if err := d.sweepImages(); err != nil {
		return err
	}
	d.agePartials()
	return nil
}

// sweepStages removes what runs that died before their journal was written
// have staged, and keeps the files for the next attempt. The lock says that no
// such run is alive.
func (d *Dir) sweepStages() error {
	return d.inState(stageName, func(stages *dirFD, names []string) error {
		for _, name := range names {
			if isStageID(name) {
				d.salvage(name)
			} else if err := d.removeAll(stages, name); err != nil {
				d.opts.Log("cannot remove what an earlier run left: %v", err)
			}
		}
		return nil
	})
}

func (d *Dir) sweepTemporary(kind string) error {
	return d.inState(kind, func(dir *dirFD, names []string) error {
		for _, name := range names {
			if strings.HasPrefix(name, tmpPrefix) {
				if err := d.ops.unlink(dir, name); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// sweepImages removes facts that no tree's history names any more: a prune was
// cut off before it came to them.
func (d *Dir) sweepImages() error {
	names, err := d.recordNames(imagesName)
	if err != nil || len(names) == 0 {
		return err
	}
	trees, err := d.Trees()
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, t := range trees {
		for _, g := range t.History {
			hex, err := digestHex(g.Digest)
			if err != nil {
				return err
			}
			needed[hex+".json"] = true
		}
	}
	images, err := d.stateDir(imagesName, false)
	if err != nil {
		return err
	}
	defer images.close()
	for _, name := range names {
		if needed[name] {
			continue
		}
		if err := d.forget(images, name); err != nil {
			return err
		}
	}
	return nil
}

// forget removes a generation that no history names, and then its facts: in
// this order, because facts without a generation are harmless and found again
// here, while a generation without facts would stay for ever.
func (d *Dir) forget(images *dirFD, name string) error {
	hex := strings.TrimSuffix(name, ".json")
	if err := d.removeGeneration(hex); err != nil {
		return err
	}
	if err := d.forgetChunks(hex); err != nil {
		return err
	}
	delete(d.images, hex)
	d.contents = nil
	return d.ops.unlink(images, name)
}

// removeGeneration takes a generation out of sight in one step and then
// removes it.
func (d *Dir) removeGeneration(hex string) error {
	generations, err := d.root.open(generationsName)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer generations.close()
	if _, err := generations.stat(hex); isMissing(err) {
		return nil
	}
	stages, err := d.stateDir(stageName, true)
	if err != nil {
		return err
	}
	defer stages.close()
	trash := "pruned-" + hex
	if err := d.removeAll(stages, trash); err != nil && !isMissing(err) {
		return err
	}
	if err := d.ops.rename(generations, hex, stages, trash); err != nil {
		return err
	}
	if err := d.ops.fsync(generations.fd, generations.path); err != nil {
		return err
	}
	return d.removeAll(stages, trash)
}
