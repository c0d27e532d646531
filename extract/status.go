package extract

import (
	"context"
	"fmt"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
)

// TreeStatus is what the record says of one boot tree, and what a look at the
// tree found.
type TreeStatus struct {
	Path      string           `json:"path"`
	Reference string           `json:"reference"`
	Digest    string           `json:"digest"`
	TagDigest string           `json:"tag_digest"`
	Platform  string           `json:"platform"`
	Layout    string           `json:"layout"`
	Mode      bootdir.LiveMode `json:"mode"`
	Pinned    bool             `json:"pinned"`
	Created   *time.Time       `json:"created,omitempty"` // of the image
	Installed time.Time        `json:"installed"`
	Files     int              `json:"files"`
	Bytes     int64            `json:"bytes"`
	History   []Generation     `json:"generations"`
	// Catalog and Release tell which entry of which catalogue asked for the tree, empty
	// for one that was pulled by hand.
	Catalog string `json:"catalog,omitempty"`
	Release string `json:"release,omitempty"`
	// Succeeded, FailingSince and Error are what runs over that catalogue remember of the
	// reference: catalogrun.Recall fills them in.
	Succeeded    time.Time         `json:"succeeded,omitzero"` // when it was last seen to be up to date
	FailingSince time.Time         `json:"failing_since,omitzero"`
	Error        string            `json:"error,omitempty"`
	Problems     []bootdir.Problem `json:"problems"`
}

// Generation is one earlier or present content of a tree.
type Generation struct {
	Digest     string    `json:"digest"`
	Installed  time.Time `json:"installed"`
	Superseded time.Time `json:"superseded,omitzero"`
	Present    bool      `json:"present"` // its directory below by-digest is there
}

// Status tells of every tree of the boot directory dir without changing
// anything. Managed files are judged by size, times and inode number.
func Status(ctx context.Context, dir string) ([]TreeStatus, error) {
	return survey(ctx, dir, false)
}

// Verify reads every managed file again and compares it with the image.
// Problems do not make it fail: the caller decides what they mean.
func Verify(ctx context.Context, dir string) ([]TreeStatus, error) {
	return survey(ctx, dir, true)
}

// survey looks again when a run changed the trees under its eyes: between the
// exchange and the record of a commit every file differs from what is recorded.
func survey(ctx context.Context, dir string, checksum bool) ([]TreeStatus, error) {
	const attempts = 20
	for n := 1; ; n++ {
		list, err := surveyOnce(ctx, dir, checksum)
		if err != nil || n == attempts || !problems(list) {
			return list, err
		}
		if moved, err := movedOn(dir, list); err != nil || !moved {
			return list, err
		}
	}
}

func surveyOnce(ctx context.Context, dir string, checksum bool) ([]TreeStatus, error) {
	d, err := bootdir.View(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	trees, err := d.Trees()
	if err != nil {
		return nil, err
	}
	if len(trees) == 0 {
		return nil, noTrees(dir)
	}
	list := []TreeStatus{}
	for i := range trees {
		s := treeStatus(d, &trees[i])
		if s.Problems, err = d.Drift(ctx, &trees[i], checksum); err != nil {
			return list, err
		}
		if s.Problems == nil {
			s.Problems = []bootdir.Problem{}
		}
		list = append(list, s)
	}
	return list, nil
}

func problems(list []TreeStatus) bool {
	for _, s := range list {
		if len(s.Problems) > 0 {
			return true
		}
	}
	return false
}

// movedOn tells whether a commit is under way, or has ended since the survey.
func movedOn(dir string, list []TreeStatus) (bool, error) {
	d, err := bootdir.View(dir)
	if err != nil {
		return false, err
	}
	defer d.Close()
	if d.Pending() {
		return true, nil
	}
	for _, s := range list {
		now, err := d.Tree(s.Path)
		if err != nil {
			return false, err
		}
		if now == nil || now.Digest != s.Digest || len(now.History) > 0 && !now.History[0].Installed.Equal(s.Installed) {
			return true, nil
		}
	}
	return false, nil
}

// noTrees says that a directory is no boot directory of ours, which is
// mostly a mistyped or unmounted one.
func noTrees(dir string) error {
	return &notFoundError{msg: fmt.Sprintf("%q holds no boot tree", dir), hint: "nbextract pull IMAGE -d DIR lays one out"}
}

func treeStatus(d *bootdir.Dir, t *bootdir.Tree) TreeStatus {
	s := TreeStatus{
		Path: t.Live, Reference: t.Reference, Digest: t.Digest, TagDigest: t.TagDigest, Platform: t.Platform, Layout: t.Layout,
		Mode: t.Mode, Pinned: t.Pinned, Created: t.Created, Files: len(t.Files), History: []Generation{},
		Catalog: t.Catalog, Release: t.Release,
	}
	for _, f := range t.Files {
		s.Bytes += f.Size
	}
	for i, g := range t.History {
		if i == 0 {
			s.Installed = g.Installed
		}
		s.History = append(s.History, Generation{g.Digest, g.Installed, g.Superseded, d.HasGeneration(g.Digest)})
	}
	return s
}
