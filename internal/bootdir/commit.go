//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// Commit makes the staged generation the live tree of the stage's live path; it is
// CommitAll for one tree.
func (s *Stage) Commit(ctx context.Context, img *Image, t *Tree) (Result, error) {
	t.Live = s.live
	results, err := s.CommitAll(ctx, img, []*Tree{t})
	if len(results) == 0 {
		return Result{}, err
	}
	return results[0], err
}

// CommitAll makes the staged generation the content of several live trees, each with
// its arrangement of it; one of them is that of the stage. The stage must hold what
// img.Entries lists, no more and no less. An error means that what is visible is as
// before, except where there are several units, whose error says so; what fails
// after the exchanges is a warning (of the first result), and the next Open finishes
// it. The trees are completed with what was done.
func (s *Stage) CommitAll(ctx context.Context, img *Image, trees []*Tree) ([]Result, error) {
	c, err := s.prepare(ctx, img, trees)
	if err == nil {
		err = c.writeJournal()
	}
	if err != nil {
		return nil, fmt.Errorf("commit %q: %w", s.live, err)
	}
	s.keep = true
	if err := c.place(); err != nil {
		if c.anyLive() {
			return c.results, withHint(fmt.Errorf("commit %q: it is partly in place: %w", s.live, err),
				"run the command again: it finishes this update first")
		}
		if uerr := c.undo(); uerr == nil {
			s.keep = false
		}
		return nil, fmt.Errorf("commit %q: %w", s.live, err)
	}
	c.finish()
	for i, t := range trees {
		*t = *c.j.Parts[i].Tree
		if now, err := s.d.Tree(t.Live); err == nil && now != nil && now.Digest == t.Digest {
			*t = *now // pruning may have shortened the history
		}
	}
	return c.results, nil
}

// commit is a commit under way; everything that matters is in the journal, so
// that a later run can continue with that alone.
type commit struct {
	d       *Dir
	j       *journal
	results []Result // one for each part
}

func (c *commit) warn(format string, args ...any) {
	c.results[0].Warnings = append(c.results[0].Warnings, fmt.Sprintf(format, args...))
}

// prepare does all that can fail without consequences: afterwards the stage is
// complete and durable, and the journal is written down in memory.
func (s *Stage) prepare(ctx context.Context, img *Image, trees []*Tree) (*commit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(trees, func(t *Tree) bool { return t.Live == s.live }) {
		return nil, errors.New("the tree of the stage is not among those to be committed")
	}
	whole := *img
	var err error
	if whole.Entries, err = completeEntries(img.Entries); err != nil {
		return nil, err
	}
	if err := s.checkComplete(whole.Entries); err != nil {
		return nil, err
	}
	if err := s.dressStaged(whole.Entries); err != nil {
		return nil, err
	}
	if err := s.syncDirs(s.gen); err != nil {
		return nil, err
	}
	b, err := s.newBatch(ctx, &whole, trees)
	if b != nil {
		defer b.close()
	}
	if err != nil {
		return nil, err
	}
	if err := b.buildUnits(); err != nil {
		return nil, err
	}
	return b.commit()
}

// checkComplete compares what was staged with what is to be recorded.
func (s *Stage) checkComplete(entries []spec.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	listed := map[string]bool{".": true}
	for _, e := range entries {
		listed[e.Path] = true
		ok := true
		switch e.Type {
		case spec.TypeDir:
			if !s.dirs[e.Path] {
				s.mu.Unlock()
				err := s.ensureDir(e.Path)
				s.mu.Lock()
				if err != nil {
					return err
				}
			}
		case spec.TypeSymlink:
			ok = s.links[e.Path] == e.Target
		default:
			f, staged := s.files[e.Path]
			ok = staged && f.sha256 == e.SHA256 && f.size == e.Size
		}
		if !ok {
			return fmt.Errorf("%q is not staged as listed", e.Path)
		}
	}
	for p := range s.files {
		if !listed[p] {
			return fmt.Errorf("%q is staged but not listed", p)
		}
	}
	for p := range s.links {
		if !listed[p] {
			return fmt.Errorf("%q is staged but not listed", p)
		}
	}
	for p := range s.dirs {
		if !listed[p] {
			return fmt.Errorf("%q is staged but not listed", p)
		}
	}
	return nil
}

// syncDirs brings directories to the disk, the inner ones first.
func (s *Stage) syncDirs(dir *dirFD) error {
	names, err := dir.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		st, err := dir.stat(name)
		if err != nil {
			return err
		}
		if !isDir(st) {
			continue
		}
		sub, err := dir.open(name)
		if err != nil {
			return err
		}
		err = s.syncDirs(sub)
		sub.close()
		if err != nil {
			return err
		}
	}
	return s.d.ops.fsync(dir.fd, dir.path)
}

// supportsExchange asks the file system, with two directories of the stage.
func (s *Stage) supportsExchange() (bool, error) {
	names := []string{"probe-a", "probe-b"}
	for _, name := range names {
		if err := s.d.ops.mkdir(s.dir, name, 0o700); err != nil {
			return false, err
		}
	}
	err := s.d.ops.exchange(s.dir, names[0], s.dir, names[1])
	for _, name := range names {
		if rerr := s.d.ops.rmdir(s.dir, name); rerr != nil {
			return false, rerr
		}
	}
	if unsupported(err) {
		return false, nil
	}
	return err == nil, err
}

func (c *commit) writeJournal() error {
	err := c.d.writeRecord(c.d.state, journalName, c.j)
	if err != nil {
		// The rename may have happened although the sync failed: such a
		// journal must not outlive the stage that it names.
		if _, serr := c.d.state.stat(journalName); serr == nil {
			c.d.pending = true
			if rerr := c.dropJournal(); rerr != nil {
				return errors.Join(err, rerr)
			}
		}
		return err
	}
	c.d.pending = true
	return nil
}

func (c *commit) dropJournal() error {
	if err := c.d.ops.unlink(c.d.state, journalName); err != nil && !isMissing(err) {
		return err
	}
	c.d.pending = false
	return c.d.ops.fsync(c.d.state.fd, c.d.state.path)
}

// undo takes back a commit of which nothing is visible in the live tree.
func (c *commit) undo() error {
	if !c.j.Known {
		if err := c.undoGeneration(); err != nil {
			return err
		}
	}
	for _, dir := range slices.Backward(c.j.Parents) {
		if err := c.undoParent(dir); err != nil {
			return err
		}
	}
	if err := c.dropJournal(); err != nil {
		return err
	}
	return c.d.removeStage(c.j.ID)
}

// undoGeneration puts a generation that was not there before out of sight
// again.
func (c *commit) undoGeneration() error {
	for _, u := range c.j.Units {
		if !u.Generation || u.Old != 0 {
			continue
		}
		st, err := c.d.root.statPath(u.Path)
		if isMissing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if st.Ino == u.Inode {
			return c.d.removeGeneration(c.j.Generation)
		}
	}
	return nil
}

func (c *commit) undoParent(dir string) error {
	up, name, err := c.d.root.parent(dir)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer up.close()
	err = c.d.ops.rmdir(up, name)
	if err == nil || isMissing(err) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}
