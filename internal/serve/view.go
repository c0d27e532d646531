package serve

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
)

// generations is where bootdir keeps what images hold, by the hex of the digest.
const generations = "by-digest"

// tree is one live tree, as its record says.
type tree struct {
	live      string // path below the root, bootdir.FlatLive for flat
	digest    string // of the generation that is live
	platform  string
	reference string
	installed time.Time
	arranged  *arrangement // nil: it shows its image path by path
}

// same tells whether two readings are of one tree with one generation.
func (t *tree) same(o tree) bool {
	return t.live == o.live && t.digest == o.digest && t.installed.Equal(o.installed)
}

// below gives the path inside the tree that a path below the root means.
func (t *tree) below(p string) (rel string, ok bool) {
	if t.live == bootdir.FlatLive {
		return p, p != generations && !strings.HasPrefix(p, generations+"/")
	}
	if p == t.live {
		return ".", true
	}
	return strings.CutPrefix(p, t.live+"/")
}

// view knows the records of the trees. They are read again when one was written,
// which a look at their directory tells.
type view struct {
	dir string

	mu    sync.Mutex
	trees []tree // the deepest live path first
	read  time.Time
	seen  time.Time // change of the directory of records that was read
	shows map[shownAs]*arrangement
}

// settled is after how long a time stamp of a file system is sure to change with
// the next change. Kernels count in steps of up to 10 ms.
const settled = 50 * time.Millisecond

// current gives the live trees. What cannot be read leaves the last answer, with
// the error beside it.
func (v *view) current() ([]tree, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	info, err := os.Stat(filepath.Join(v.dir, ".nbextract", "trees"))
	if errors.Is(err, fs.ErrNotExist) {
		v.trees, v.seen = nil, time.Time{} // none yet, or none any more
		return nil, nil
	}
	if err != nil {
		return v.trees, fmt.Errorf("read the records of the boot directory: %w", err)
	}
	if info.ModTime().Equal(v.seen) && v.read.Sub(v.seen) > settled {
		return v.trees, nil
	}
	now := time.Now()
	trees, err := readTrees(v.dir)
	if err != nil {
		return v.trees, err
	}
	v.trees, v.read, v.seen = trees, now, info.ModTime()
	v.remember(trees)
	return trees, nil
}

func readTrees(dir string) ([]tree, error) {
	d, err := bootdir.View(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	records, err := d.Trees()
	if err != nil {
		return nil, err
	}
	var trees []tree
	for i := range records {
		trees = append(trees, treeOf(&records[i]))
	}
	slices.SortStableFunc(trees, func(a, b tree) int { return depth(b.live) - depth(a.live) })
	return trees, nil
}

func treeOf(r *bootdir.Tree) tree {
	t := tree{live: r.Live, digest: r.Digest, platform: r.Platform, reference: r.Reference, arranged: arrangementOf(r)}
	if len(r.History) > 0 {
		t.installed = r.History[0].Installed
	}
	return t
}

func depth(live string) int {
	if live == bootdir.FlatLive {
		return 0
	}
	return 1 + strings.Count(live, "/")
}

// present tells whether the directory of a generation is there.
func (v *view) present(digest string) bool {
	info, err := os.Stat(filepath.Join(v.dir, generations, hexOf(digest)))
	return err == nil && info.IsDir()
}

// hold keeps a generation on the disk.
func (v *view) hold(digest string) (io.Closer, error) {
	d, err := bootdir.View(v.dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Hold(digest)
}

// hexOf is the name of a generation's directory.
func hexOf(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex
}
