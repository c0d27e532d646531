//go:build linux

package bootdir

import (
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// leaveNoTrace takes back what Open made when nothing came of it: a pull that
// is refused, or that finds no such image, leaves the disk as it was; one that
// was interrupted leaves what it has fetched. Only empty directories and the
// lock go; what fails stays, and does no harm.
func (d *Dir) leaveNoTrace() {
	if !d.madeState || d.lock < 0 || d.pending {
		return
	}
	for _, name := range []string{stageName, imagesName, treesName, keptName, partialName, chunksName} {
		_ = d.ops.rmdir(d.state, name)
	}
	if names, err := d.state.names(); err != nil || !slices.Equal(names, []string{lockName}) {
		return
	}
	// Who waits for this lock finds it gone and gives up: see acquire.
	if d.ops.unlink(d.state, lockName) != nil || d.ops.rmdir(d.root, stateName) != nil {
		return
	}
	for _, dir := range slices.Backward(d.madeDirs) {
		if d.ops.do("rmdir", filepath.Base(dir), func() error { return unix.Rmdir(dir) }) != nil {
			return
		}
	}
}

// lockIsCurrent tells whether the locked file is still the one that others
// find: its run may have ended, and taken the state directory away.
func (d *Dir) lockIsCurrent(fd int) bool {
	var mine unix.Stat_t
	if unix.Fstat(fd, &mine) != nil {
		return false
	}
	state, err := d.root.open(stateName)
	if err != nil {
		return false
	}
	defer state.close()
	now, err := state.stat(lockName)
	return err == nil && sameInode(now, &mine)
}
