//go:build linux

package bootdir

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// partialAge is how long nobody may want a partial download before it goes:
	// a pull that runs once a week still finds its own.
	partialAge = 8 * 24 * time.Hour
	// partialLimit bounds all of them together, in bytes: two images of the
	// largest size that is common.
	partialLimit = 16 << 30
)

// partialNames lists what interrupted runs have left. Other names in the
// directory are not ours and stay.
func (d *Dir) partialNames() ([]string, error) {
	return d.namesInState(partialName, func(n string) bool {
		return !strings.HasPrefix(n, "file-") && !strings.HasPrefix(n, "sha")
	})
}

// partialSeen is one partial download as the sweep sees it.
type partialSeen struct {
	name string
	size int64     // bytes on the disk
	used time.Time // when it was last written or moved
}

// partials lists the partial downloads that nobody uses now, the one that was
// used longest ago first.
func (d *Dir) partials(dir *dirFD) ([]partialSeen, error) {
	names, err := d.partialNames()
	if err != nil {
		return nil, err
	}
	d.partialMu.Lock()
	defer d.partialMu.Unlock()
	var seen []partialSeen
	for _, name := range names {
		st, err := dir.stat(name)
		if err != nil || !isType(st, unix.S_IFREG) || d.inUse[name] {
			continue
		}
		seen = append(seen, partialSeen{name, st.Blocks * 512, time.Unix(st.Ctim.Unix())})
	}
	slices.SortStableFunc(seen, func(a, b partialSeen) int { return a.used.Compare(b.used) })
	return seen, nil
}

// agePartials removes partial downloads that are too old, and the oldest while
// all together take too much room. That they stay is no reason to fail.
func (d *Dir) agePartials() {
	d.shedPartials(func(oldest partialSeen, total int64) bool {
		return d.opts.Now().Sub(oldest.used) > partialAge || total > cmp.Or(d.opts.partialLimit, partialLimit)
	})
}

// shedPartials removes partial downloads, the oldest first, for as long as more
// says so.
func (d *Dir) shedPartials(more func(oldest partialSeen, total int64) bool) {
	dir, err := d.stateDir(partialName, false)
	if err != nil {
		return
	}
	defer dir.close()
	seen, err := d.partials(dir)
	if err != nil {
		return
	}
	var total int64
	for _, p := range seen {
		total += p.size
	}
	for _, p := range seen {
		if !more(p, total) {
			return
		}
		if err := d.ops.unlink(dir, p.name); err != nil {
			d.opts.Log("cannot remove a partial download: %v", err)
			return
		}
		total -= p.size
	}
}

// makeRoom gives up partial downloads for something that needs their room now:
// as many as it takes, and none if all of them were not enough. room tells how
// many bytes are missing, and fails while it is not enough.
func (d *Dir) makeRoom(room func() (missing int64, err error)) error {
	missing, err := room()
	if err == nil || d.needLock() != nil {
		return err
	}
	first := true
	d.shedPartials(func(_ partialSeen, total int64) bool {
		if first && total < missing {
			return false
		}
		first = false
		_, err = room()
		return err != nil
	})
	_, err = room()
	return err
}

// dropPartials removes what served a tree that is in place now: the beginnings
// of the blobs of its image, and the files that were staged for it.
func (d *Dir) dropPartials(img *Image, live string) error {
	names, err := d.partialNames()
	if err != nil || len(names) == 0 {
		return err
	}
	done := map[string]bool{}
	for _, l := range img.Layers {
		if name, err := partialBlobName(l.Digest); err == nil {
			done[name] = true
		}
	}
	dir, err := d.stateDir(partialName, false)
	if err != nil {
		return err
	}
	defer dir.close()
	for _, name := range names {
		if !done[name] && !strings.HasPrefix(name, leftoverPrefix(liveKey(live))) {
			continue
		}
		if st, err := dir.stat(name); err != nil || isDir(st) {
			continue // not ours
		}
		if err := d.ops.unlink(dir, name); err != nil {
			return err
		}
	}
	return nil
}
