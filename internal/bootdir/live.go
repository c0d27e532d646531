//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// CheckLive refuses a live path that cannot be used: reserved or hidden names,
// a path inside a recorded tree or around one, a parent that is a symbolic
// link, is no directory or lies on another file system, and something at the
// path itself that nbextract did not make and cannot keep.
func (d *Dir) CheckLive(live string) error {
	if err := checkLiveName(live); err != nil {
		return err
	}
	if d.root == nil {
		return nil
	}
	if d.state != nil {
		trees, err := d.Trees()
		if err != nil {
			return err
		}
		for _, t := range trees {
			// The flat layout has only the names at the top that its image has, which
			// checkClaims compares when they are known.
			if t.Live == FlatLive || live == FlatLive || t.Live == live {
				continue
			}
			if isInside(t.Live, live) || isInside(live, t.Live) {
				return claimRefusal(live, t.Live)
			}
		}
	}
	if live == FlatLive {
		return nil
	}
	return d.checkLiveOnDisk(live)
}

func claimRefusal(p, other string) error {
	return liveRefusal(p, "choose another --layout, or another boot directory", "lies inside the boot tree %q or around it", other)
}

// checkClaims refuses to put something where another recorded tree has something,
// inside it or around it. Trees of the same batch are in but.
func (d *Dir) checkClaims(units []string, but ...string) error {
	trees, err := d.Trees()
	if err != nil {
		return err
	}
	for _, t := range trees {
		if slices.Contains(but, t.Live) {
			continue
		}
		if err := disjoint(units, t.Units, t.Live); err != nil {
			return err
		}
	}
	return nil
}

// disjoint compares the units of two trees.
func disjoint(units, others []string, name string) error {
	for _, u := range units {
		for _, o := range others {
			if isInside(u, o) || isInside(o, u) {
				return claimRefusal(u, name)
			}
		}
	}
	return nil
}

func liveRefusal(path, advice, format string, args ...any) error {
	return &spec.Refusal{Rule: "live-path", Path: path, Reason: fmt.Sprintf(format, args...), Advice: advice}
}

const noLinkAdvice = "nbextract follows no symbolic links below the boot directory; move the link away, or name its target with -d"

// checkLiveOnDisk looks at every element of a live path.
func (d *Dir) checkLiveOnDisk(live string) error {
	root, err := d.root.self()
	if err != nil {
		return err
	}
	elements := strings.Split(live, "/")
	for i := range elements {
		p := strings.Join(elements[:i+1], "/")
		st, err := d.root.statPath(p)
		if isMissing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		last := i == len(elements)-1
		switch {
		case isType(st, unix.S_IFLNK) && last:
			return d.checkLiveLink(live)
		case isType(st, unix.S_IFLNK):
			return liveRefusal(p, noLinkAdvice, "is a symbolic link")
		case !isDir(st):
			return liveRefusal(p, "move it away", "is not a directory")
		case st.Dev != root.Dev:
			return liveRefusal(p, "use -d with a directory on that file system", "lies on another file system than the boot directory")
		}
	}
	return d.checkNoMount(live, root.Dev)
}

func (d *Dir) checkNoMount(live string, dev uint64) error {
	dir, err := d.root.open(live)
	if err != nil {
		return err
	}
	defer dir.close()
	mount, err := isMountPoint(dir, dev)
	if err == nil && mount {
		return liveRefusal(live, "a mount point cannot be exchanged; mount its parent", "is a mount point")
	}
	return err
}

// checkLiveLink accepts a link at the live path only when it is one that link
// mode makes.
func (d *Dir) checkLiveLink(live string) error {
	hex, err := d.linkedGeneration(live)
	if err != nil {
		return err
	}
	if hex == "" {
		return liveRefusal(live, noLinkAdvice, "is a symbolic link that nbextract did not make")
	}
	return nil
}

// linkTarget gives the target of the live link to a generation.
func linkTarget(live, hex string) string {
	return strings.Repeat("../", strings.Count(live, "/")) + path.Join(generationsName, hex)
}

// linkedGeneration gives the generation that the link at a live path names,
// the empty string when it is not a link of ours.
func (d *Dir) linkedGeneration(live string) (string, error) {
	up, name, err := d.root.parent(live)
	if err != nil {
		return "", err
	}
	defer up.close()
	target, err := up.readlink(name)
	if errors.Is(err, unix.EINVAL) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	hex := path.Base(target)
	if target != linkTarget(live, hex) || !isGenerationName(hex) {
		return "", nil
	}
	return hex, nil
}

// isGenerationName tells whether a name is the hex part of a digest.
func isGenerationName(hex string) bool {
	return len(hex) >= 64 && len(hex) <= 128 && strings.Trim(hex, "0123456789abcdef") == ""
}
