package bootdir

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// Arrangement is how a tree shows its image where that is not path by path: under other
// names, a part of it, or with links of its own. A regular file of it names in
// Target the file of the image that it is; both are one inode.
type Arrangement struct {
	// Entries stand below the live path.
	Entries []spec.Entry `json:"entries"`
	// Beside are files and links outside of it, by their paths below the boot
	// directory. Each is put in place by a rename of its own, in a directory that
	// others may share.
	Beside []spec.Entry `json:"beside,omitempty"`
}

// Shown lists what stands below the live path of a tree with this image.
func (t *Tree) Shown(img *Image) []spec.Entry {
	if t.Arrangement != nil {
		return t.Arrangement.Entries
	}
	return img.Entries
}

// Beside lists what stands outside the live path.
func (t *Tree) Beside() []spec.Entry {
	if t.Arrangement == nil {
		return nil
	}
	return t.Arrangement.Beside
}

// SourceOf gives the path, in the generation, of a regular file that a tree shows.
func SourceOf(e spec.Entry) string {
	if e.Type == spec.TypeFile && e.Target != "" {
		return e.Target
	}
	return e.Path
}

// besideKey is how problems name what stands beside a tree: no path below a live
// path begins with a slash.
func besideKey(p string) string { return "/" + p }

// checkArrangement refuses one that no layout would make.
func checkArrangement(live string, v *Arrangement) error {
	if v == nil {
		return nil
	}
	whole, err := completeEntries(v.Entries)
	if err != nil {
		return err
	}
	if live == FlatLive && len(v.Beside) > 0 {
		return spec.Refuse(spec.RulePath, live, "nothing stands beside a tree that has the whole directory")
	}
	if !slices.Equal(whole, v.Entries) {
		return fmt.Errorf("the arrangement of %q is not sorted and complete", live)
	}
	seen := map[string]bool{}
	for _, e := range v.Beside {
		if err := checkEntry(e); err != nil {
			return err
		}
		if err := checkLiveName(e.Path); err != nil {
			return err
		}
		if e.Type == spec.TypeDir || seen[e.Path] || isInside(e.Path, live) || isInside(live, e.Path) {
			return spec.Refuse(spec.RuleEntryType, e.Path, "cannot stand beside the tree %q", live)
		}
		seen[e.Path] = true
	}
	for _, e := range slices.Concat(v.Entries, v.Beside) {
		if e.Type == spec.TypeFile && e.Target != "" {
			if err := spec.CheckPath(e.Target); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete sorts it and adds its directories.
func (v *Arrangement) complete() (*Arrangement, error) {
	if v == nil {
		return nil, nil
	}
	entries, err := completeEntries(v.Entries)
	if err != nil {
		return nil, err
	}
	return &Arrangement{Entries: entries, Beside: v.Beside}, nil
}

// fits tells whether every file is one of the image.
func (v *Arrangement) fits(img *Image) error {
	if v == nil {
		return nil
	}
	for _, e := range slices.Concat(v.Entries, v.Beside) {
		if e.Type != spec.TypeFile {
			continue
		}
		from, ok := findEntry(img.Entries, SourceOf(e))
		if !ok || from.Type != spec.TypeFile || from.SHA256 != e.SHA256 || from.Size != e.Size {
			return spec.Refuse(spec.RulePath, e.Path, "is no file of the image")
		}
	}
	return nil
}

func findEntry(entries []spec.Entry, p string) (spec.Entry, bool) {
	i, found := slices.BinarySearchFunc(entries, p, func(e spec.Entry, p string) int {
		return strings.Compare(e.Path, p)
	})
	if !found {
		return spec.Entry{}, false
	}
	return entries[i], true
}

// isInside tells whether path a is b or lies below it.
func isInside(a, b string) bool {
	return b == FlatLive || a == b || strings.HasPrefix(a, b+"/")
}

// above lists the directories above a path, the outermost first.
func above(p string) []string {
	var dirs []string
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}
