//go:build linux

package bootdir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// CheckSite looks for files of the site that are in the way of what an image
// will bring to a live path, and beside it, before anything is fetched for it. Sizes
// are not needed; entries that are not known yet are looked at again by Commit. The
// error is a *spec.Refusal.
func (d *Dir) CheckSite(live string, entries []spec.Entry, beside ...spec.Entry) error {
	if d.root == nil {
		return nil
	}
	cur, err := d.Tree(live)
	if err != nil {
		return err
	}
	managed, err := d.managedPaths(cur)
	if err != nil {
		return err
	}
	if err := d.checkSiteBelow(live, entries, managed); err != nil {
		return err
	}
	units := []string{}
	for _, e := range beside {
		units = append(units, e.Path)
	}
	if err := d.checkClaims(units, live); err != nil {
		return err
	}
	return d.checkSiteBelow(FlatLive, beside, besideOf(cur))
}

// besideOf gives the paths that a recorded tree has beside itself.
func besideOf(t *Tree) map[string]bool {
	managed := map[string]bool{}
	if t != nil {
		for _, e := range t.Beside() {
			managed[e.Path] = false
		}
	}
	return managed
}

func (d *Dir) checkSiteBelow(live string, entries []spec.Entry, managed map[string]bool) error {
	if len(entries) == 0 {
		return nil
	}
	st, err := d.root.statPath(live)
	if isMissing(err) || err == nil && !isDir(st) {
		return nil // nothing there, or a link, which holds nothing of the site's
	}
	if err != nil {
		return err
	}
	base, err := d.root.open(live)
	if err != nil {
		return err
	}
	defer base.close()
	c := newCursor(base)
	defer c.close()
	for _, e := range entries {
		if err := checkSite(c, e, managed); err != nil {
			return fmt.Errorf("look at %q: %w", live, err)
		}
	}
	return nil
}

func checkSite(c *cursor, e spec.Entry, managed map[string]bool) error {
	st, err := c.stat(e.Path)
	if isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, ours := managed[e.Path]; ours || isDir(st) && e.Type == spec.TypeDir {
		return nil
	}
	dir, name, err := c.at(e.Path)
	if err != nil {
		return err
	}
	e.Size = st.Size // not known yet; the content decides
	if same, err := sameContent(e, dir, name, st); err != nil || same {
		return err
	}
	return siteRefusal(e.Path)
}

func siteRefusal(p string) error {
	return &spec.Refusal{Rule: "site-file", Path: p,
		Reason: "the image wants this name, but what is there was not put there by nbextract",
		Advice: "move or rename the site's own file, or use another --layout; nothing was changed"}
}
