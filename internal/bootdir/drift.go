//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// Drift compares a live tree, and what stands beside it, with its record and image: every managed file by
// size, modification time, change time and inode number, directories by kind,
// links by target. A file whose content the metadata leave open is hashed, and
// with checksum every file is. Under the lock, what proved right is recorded
// again, so that it is not hashed next time.
func (d *Dir) Drift(ctx context.Context, t *Tree, checksum bool) ([]Problem, error) {
	if d.root == nil {
		return []Problem{{".", Missing}}, nil
	}
	img, err := d.Image(t.Digest)
	if err != nil {
		return nil, err
	}
	if img == nil {
		return nil, withHint(fmt.Errorf("the facts of %s, which %q holds, are missing", t.Digest, t.Live), damagedHint)
	}
	if what, err := d.liveProblem(t); err != nil || what != "" {
		return []Problem{{".", what}}, err
	}
	var problems []Problem
	if what, err := d.topProblem(t); err != nil {
		return nil, err
	} else if what != "" {
		problems = append(problems, Problem{TopPath, what})
	}
	base, err := d.openManaged(t.Live)
	if err != nil {
		return nil, err
	}
	if base == nil {
		return []Problem{{".", Missing}}, nil
	}
	defer base.close()
	c := &comparison{ctx: ctx, tree: t, checksum: checksum, states: map[string]int{}, cursor: newCursor(base)}
	defer c.cursor.close()
	if t.Mode == ModeDir {
		gen, err := d.openGeneration(t.Digest)
		if err != nil {
			return nil, err
		}
		c.generation = newCursor(gen)
		defer func() { c.generation.close(); gen.close() }()
	}
	for i, f := range t.Files {
		c.states[f.Path] = i
	}
	for _, e := range t.Shown(img) {
		what, err := c.compare(e)
		if err == nil && what == "" {
			what, err = c.compareGeneration(e)
		}
		if err != nil {
			return problems, fmt.Errorf("look at %q of %q: %w", e.Path, t.Live, err)
		}
		if what != "" {
			problems = append(problems, Problem{e.Path, what})
		}
	}
	more, err := c.compareBeside(d)
	problems = append(problems, more...)
	if err != nil {
		return problems, fmt.Errorf("look at what stands beside %q: %w", t.Live, err)
	}
	if c.refreshed && d.lock >= 0 {
		return problems, d.writeTree(t)
	}
	return problems, nil
}

// liveProblem looks at the live path itself.
func (d *Dir) liveProblem(t *Tree) (string, error) {
	if t.Live == FlatLive {
		return "", nil
	}
	st, err := d.root.statPath(t.Live)
	if isMissing(err) {
		return Missing, nil
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return WrongType, nil
	}
	if err != nil {
		return "", err
	}
	if t.Mode == ModeDir {
		if !isDir(st) {
			return WrongType, nil
		}
		return "", nil
	}
	if !isType(st, unix.S_IFLNK) {
		return WrongType, nil
	}
	hex, err := digestHex(t.Digest)
	if err != nil {
		return "", err
	}
	if linked, err := d.linkedGeneration(t.Live); err != nil || linked != hex {
		return WrongTarget, err
	}
	return "", nil
}

// comparison is one walk over a live tree.
type comparison struct {
	ctx      context.Context
	tree     *Tree
	checksum bool
	states   map[string]int // index into tree.Files
	cursor   *cursor
	// generation is where by-digest has the same files; nil in link mode,
	// where the live path leads there.
	generation *cursor
	refreshed  bool
}

// compare gives what is wrong with one entry, empty when nothing is.
func (c *comparison) compare(e spec.Entry) (string, error) {
	st, err := c.cursor.stat(e.Path)
	switch {
	case isMissing(err), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return Missing, nil
	case err != nil:
		return "", err
	}
	switch e.Type {
	case spec.TypeDir:
		if !isDir(st) {
			return WrongType, nil
		}
		return c.tree.Attributes.worn(c.cursor, e, st)
	case spec.TypeSymlink:
		return c.compareLink(e, st)
	}
	return c.compareFile(e, st)
}

func (c *comparison) compareLink(e spec.Entry, st *statT) (string, error) {
	if !isType(st, unix.S_IFLNK) {
		return WrongType, nil
	}
	dir, name, err := c.cursor.at(e.Path)
	if err != nil {
		return "", err
	}
	target, err := dir.readlink(name)
	if err == nil && target != e.Target {
		return WrongTarget, nil
	}
	if err != nil {
		return "", err
	}
	return c.tree.Attributes.worn(c.cursor, e, st)
}

func (c *comparison) compareFile(e spec.Entry, st *statT) (string, error) {
	switch {
	case !isType(st, unix.S_IFREG):
		return WrongType, nil
	case st.Size != e.Size:
		return WrongSize, nil
	}
	i, recorded := c.states[e.Path]
	now := stateOf(e.Path, st)
	if c.checksum || !recorded || c.tree.Files[i] != now {
		if what, err := c.compareBytes(e, i, recorded); what != "" || err != nil {
			return what, err
		}
	}
	return c.tree.Attributes.worn(c.cursor, e, st)
}

// compareBytes hashes a file; the state it had then is noted.
func (c *comparison) compareBytes(e spec.Entry, i int, recorded bool) (string, error) {
	if err := c.ctx.Err(); err != nil {
		return "", err
	}
	dir, name, err := c.cursor.at(e.Path)
	if err != nil {
		return "", err
	}
	fd, st, err := dir.openFile(name)
	if err != nil {
		if isMissing(err) {
			return Missing, nil
		}
		return "", err
	}
	defer unix.Close(fd)
	got, err := hashFD(fd, dir.join(name))
	if err != nil {
		return "", err
	}
	if got != e.SHA256 {
		return WrongBytes, nil
	}
	now := stateOf(e.Path, st)
	switch {
	case !recorded:
		c.tree.Files = append(c.tree.Files, now)
		c.refreshed = true
	case c.tree.Files[i] != now:
		c.tree.Files[i] = now
		c.refreshed = true
	}
	return "", nil
}

// openGeneration opens the directory of a generation, nil when it is gone.
func (d *Dir) openGeneration(digest string) (*dirFD, error) {
	hex, err := digestHex(digest)
	if err != nil {
		return nil, err
	}
	gen, err := d.root.open(generationsName + "/" + hex)
	if err != nil && (isMissing(err) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)) {
		return nil, nil
	}
	return gen, err
}

// compareGeneration looks at the other name of a live file, by which boots
// find it that must not straddle an update. The same inode is the same file;
// another one is read only where content is asked for.
func (c *comparison) compareGeneration(e spec.Entry) (string, error) {
	if c.generation == nil || e.Type != spec.TypeFile {
		return "", nil
	}
	if c.generation.base == nil {
		return GenerationGone, nil
	}
	st, err := c.generation.stat(SourceOf(e))
	switch {
	case isMissing(err), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return GenerationGone, nil
	case err != nil:
		return "", err
	case !isType(st, unix.S_IFREG) || st.Size != e.Size:
		return GenerationWrong, nil
	}
	i, recorded := c.states[e.Path]
	if !c.checksum || recorded && c.tree.Files[i].Inode == st.Ino {
		return "", nil
	}
	dir, name, err := c.generation.at(SourceOf(e))
	if err != nil {
		return "", err
	}
	if same, err := sameContent(e, dir, name, st); err != nil || same {
		return "", err
	}
	return GenerationWrong, nil
}
