package bootdir

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// generationsName is the directory of the generations, below the boot
// directory.
const generationsName = "by-digest"

// Names inside a stage.
const (
	stagedGeneration = "gen"    // the new generation: image content only
	stagedLive       = "live"   // what is swapped in: generation and strangers; for further trees with a number
	stagedBeside     = "beside" // what is swapped in outside of live paths
)

// stagedTree is where the tree of a part is staged.
func stagedTree(part int) string {
	if part == 0 {
		return stagedLive
	}
	return fmt.Sprintf("%s-%d", stagedLive, part)
}

// journalVersion is the form of journals that this package writes and reads.
const journalVersion = 2

// journal describes one commit completely: what it takes to finish it, what it
// takes to undo it, and how to tell how far it came. It is durable before the
// first visible change and goes away after the last.
type journal struct {
	Version    int      `json:"version"`
	ID         string   `json:"id"`              // of the stage
	Generation string   `json:"generation"`      // hex, name below by-digest
	Known      bool     `json:"known,omitempty"` // the generation was recorded before: undoing keeps it
	AllowGap   bool     `json:"allowGap,omitempty"`
	Units      []unit   `json:"units"`             // in the order of commit
	Parents    []string `json:"parents,omitempty"` // directories that the commit makes, outermost first
	Parts      []part   `json:"parts"`             // the trees that show the generation
	Image      *Image   `json:"image"`
}

// part is one live tree of a commit.
type part struct {
	Tree      *Tree          `json:"tree"`
	Old       []managedPath  `json:"old,omitempty"`       // what the tree had before, below the live path
	OldBeside []string       `json:"oldBeside,omitempty"` // and outside of it
	Strangers []strangerSeen `json:"strangers,omitempty"` // that were carried into the stage
}

// unit is one visible entry that is put in place by one rename. Inode numbers
// say afterwards whether that has happened.
type unit struct {
	Path       string `json:"path"`                 // below the boot directory
	Staged     string `json:"staged"`               // below the stage; the old entry lies there afterwards
	Inode      uint64 `json:"inode,omitempty"`      // of the staged entry; 0: the path is to be removed
	Old        uint64 `json:"old,omitempty"`        // inode at the path before; 0: nothing was there
	Generation bool   `json:"generation,omitempty"` // the generation itself, not part of a live tree
	Part       int    `json:"part,omitempty"`       // which tree it belongs to
}

// beside tells units outside of live paths from others.
func (u unit) beside() bool { return path.Dir(u.Staged) == stagedBeside }

// managedPath is a path that belonged to the image before.
type managedPath struct {
	Path string `json:"path"`
	Dir  bool   `json:"dir,omitempty"`
}

// strangerSeen tells which inode of a stranger was carried over and how. Its
// name may be any bytes, which JSON text cannot hold.
type strangerSeen struct {
	Path   []byte `json:"path"`             // below the live path
	Inode  uint64 `json:"inode"`            // in the old tree
	Ctime  int64  `json:"ctime,omitempty"`  // of that, when a copy was made
	Copy   uint64 `json:"copy,omitempty"`   // inode of the copy; 0: a link, the same inode
	Copied int64  `json:"copied,omitempty"` // ctime of the copy
}

// decodeJournal reads a journal and refuses one that Commit would not have
// written.
func decodeJournal(b []byte) (*journal, error) {
	var j journal
	if err := spec.UnmarshalStrict(b, &j); err != nil {
		return nil, err
	}
	if err := j.check(); err != nil {
		return nil, err
	}
	return &j, nil
}

func (j *journal) check() error {
	if j.Version != journalVersion {
		return fmt.Errorf("journal has version %d, this program knows %d", j.Version, journalVersion)
	}
	if !isStageID(j.ID) {
		return fmt.Errorf("bad stage id %q", j.ID)
	}
	if len(j.Parts) == 0 || j.Image == nil {
		return errors.New("trees or image are missing")
	}
	if err := checkImage(j.Image); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if hex, err := digestHex(j.Image.Digest); err != nil || hex != j.Generation {
		return errors.New("image and generation do not agree")
	}
	for i := range j.Parts {
		if err := j.Parts[i].check(j.Image); err != nil {
			return fmt.Errorf("tree: %w", err)
		}
	}
	return j.checkPaths()
}

func (w *part) check(img *Image) error {
	if w.Tree == nil {
		return errors.New("is missing")
	}
	if err := checkTree(w.Tree); err != nil {
		return err
	}
	if w.Tree.Digest != img.Digest {
		return errors.New("it is of another image")
	}
	if err := w.Tree.Arrangement.fits(img); err != nil {
		return err
	}
	for _, m := range w.Old {
		if err := spec.CheckPath(m.Path); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	for _, p := range w.OldBeside {
		if err := checkLiveName(p); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	return nil
}

// hasBeside tells whether a path may be a unit outside the live path of the tree.
func (w *part) hasBeside(p string) bool {
	return slices.Contains(w.OldBeside, p) || slices.ContainsFunc(w.Tree.Beside(), func(e spec.Entry) bool { return e.Path == p })
}

// isStageID tells the names of stages from others: eight digits for the live
// path, and eight by chance.
func isStageID(s string) bool { return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == "" }

func (j *journal) checkPaths() error {
	for _, u := range j.Units {
		if err := u.check(j); err != nil {
			return err
		}
	}
	for _, p := range j.Parents {
		if p != generationsName && spec.CheckPath(p) != nil {
			return fmt.Errorf("bad parent %q", p)
		}
	}
	return nil
}

// check keeps a unit inside the live tree and the stage.
func (u unit) check(j *journal) error {
	if u.Generation {
		if u.Path != generationsName+"/"+j.Generation || u.Staged != stagedGeneration {
			return fmt.Errorf("bad generation unit %q", u.Path)
		}
		return nil
	}
	if u.Part < 0 || u.Part >= len(j.Parts) {
		return fmt.Errorf("unit %q belongs to no tree", u.Path)
	}
	w := &j.Parts[u.Part]
	staged := stagedTree(u.Part)
	switch {
	case u.beside():
		if !w.hasBeside(u.Path) {
			return fmt.Errorf("unit %q does not stand beside the tree %q", u.Path, w.Tree.Live)
		}
		if n := path.Base(u.Staged); strings.Trim(n, "0123456789") == "" {
			staged = stagedBeside + "/" + n
		}
	case w.Tree.Live == FlatLive:
		staged += "/" + u.Path
		if strings.Contains(u.Path, "/") {
			return fmt.Errorf("bad unit %q of a flat tree", u.Path)
		}
	case u.Path != w.Tree.Live:
		return fmt.Errorf("unit %q is not the tree %q", u.Path, w.Tree.Live)
	}
	if spec.CheckPath(u.Path) != nil || u.Staged != staged {
		return fmt.Errorf("bad unit %q, staged as %q", u.Path, u.Staged)
	}
	return nil
}
