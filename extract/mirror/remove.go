package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/mirrortree"
)

// bootTrees finds the directories of boot files, and the boot trees of images that this
// mirror has laid out, whose manifests are not reached. That --boot-trees is not given now
// saves none: nobody would look after them.
func (s *sweep) bootTrees() error {
	for _, dir := range slices.Sorted(maps.Keys(s.state.Boot)) {
		if !s.reached[s.state.Boot[dir]] && s.due(s.note(dir)) {
			s.gone.boot = append(s.gone.boot, dir)
		}
	}
	d, err := bootdir.View(s.bootDir())
	if err != nil {
		return err
	}
	defer d.Close()
	trees, err := d.Trees()
	if err != nil {
		return err
	}
	for _, t := range trees {
		if t.Catalog == catalogName && !s.reached[digest.Digest(t.Digest)] && s.due(s.note(path.Join(mirrortree.Boot, t.Live))) {
			s.gone.trees = append(s.gone.trees, t.Live)
		}
	}
	return nil
}

// remove takes away what is due: first what names, then what is named.
func (s *sweep) remove(ctx context.Context, names []string) error {
	for _, p := range s.gone.tags {
		name := strings.TrimPrefix(path.Dir(path.Dir(p)), mirrortree.V2+"/")
		s.report.Removed.Tags = append(s.report.Removed.Tags, name+":"+path.Base(p))
	}
	s.report.Removed.Boot = append(s.report.Removed.Boot, s.gone.boot...)
	s.report.Removed.Manifests = len(s.gone.manifests)
	s.countBlobs()
	if s.opts.DryRun {
		for _, live := range s.gone.trees {
			s.report.Removed.Boot = append(s.report.Removed.Boot, path.Join(mirrortree.Boot, live))
		}
		return nil
	}
	err := s.removeTags(ctx, names)
	if err == nil {
		err = s.removeBoot(ctx)
	}
	if err == nil {
		err = s.removeAll(ctx, s.gone.referrers)
	}
	if err == nil {
		err = s.removeManifests(ctx)
	}
	if err == nil {
		err = s.removeAll(ctx, s.gone.blobs)
	}
	if err != nil {
		return fmt.Errorf("remove what is not needed: %w", err)
	}
	for _, name := range names {
		if s.repos[name] == nil {
			s.removeEmpty(name)
		}
	}
	return s.forget()
}

func (s *sweep) countBlobs() {
	s.report.Removed.Blobs = len(s.gone.blobs)
	for _, p := range s.gone.blobs {
		if st, err := s.tree.lstat(p); err == nil {
			s.report.Removed.Bytes += st.Size()
		}
	}
}

func (s *sweep) removeAll(ctx context.Context, paths []string) error {
	dirty := &dirs{}
	for _, p := range paths {
		if err := errors.Join(ctx.Err(), s.tree.remove(p)); err != nil {
			return err
		}
		dirty.add(path.Dir(p))
	}
	return s.tree.sync(dirty)
}

// removeTags removes tags, and then what lists them.
func (s *sweep) removeTags(ctx context.Context, names []string) error {
	if len(s.gone.tags) == 0 {
		return nil
	}
	if err := s.removeAll(ctx, s.gone.tags); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.writeTagList(name); err != nil {
			return err
		}
	}
	return s.writeTagMap()
}

func (s *sweep) removeManifests(ctx context.Context) error {
	for _, dir := range s.gone.manifests {
		var files []string
		for _, k := range mirrortree.Kinds() {
			files = append(files, path.Join(dir, k.File()))
		}
		if err := s.removeAll(ctx, files); err != nil {
			return err
		}
	}
	return s.removeAll(ctx, s.gone.manifests)
}

// removeBoot removes directories of boot files, in one step each, unless the site
// keeps files of its own there.
func (s *sweep) removeBoot(ctx context.Context) error {
	for _, dir := range s.gone.boot {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.mayReplace(dir); err != nil {
			s.opts.Warn("%v; it stays", err)
			continue
		}
		if _, err := s.tree.lstat(dir); err == nil {
			old := s.tree.tmp()
			if err := errors.Join(s.tree.rename(dir, old), s.tree.root.RemoveAll(old)); err != nil {
				return err
			}
		}
		delete(s.state.Boot, dir)
		for p := path.Dir(dir); p != "."; p = path.Dir(p) {
			if s.tree.remove(p) != nil {
				break // not empty
			}
		}
	}
	return s.retireTrees(ctx)
}

// retireTrees removes boot trees of images, unless the site has files in them or
// machines boot from them.
func (s *sweep) retireTrees(ctx context.Context) error {
	if len(s.gone.trees) == 0 {
		return nil
	}
	d, err := bootdir.Open(ctx, s.bootDir(), bootdir.Options{Now: s.opts.Now, Log: s.opts.Log})
	if err != nil {
		return err
	}
	defer d.Close()
	for _, live := range s.gone.trees {
		if err := d.Retire(ctx, live); err != nil {
			if ctx.Err() != nil {
				return err
			}
			s.opts.Warn("%v; it stays", err)
			continue
		}
		dir := path.Join(mirrortree.Boot, live)
		delete(s.unneeded, dir)
		s.report.Removed.Boot = append(s.report.Removed.Boot, dir)
	}
	return nil
}

// removeEmpty takes away the directories of a repository that has nothing left.
func (s *sweep) removeEmpty(name string) {
	for _, dir := range []string{mirrortree.Tags(name), mirrortree.Manifests(name)} {
		if list, err := s.tree.list(dir); err != nil || len(list) > 0 {
			return
		}
	}
	for _, p := range []string{
		mirrortree.TagList(name), path.Dir(mirrortree.TagList(name)), mirrortree.ReferrersDir(name),
		mirrortree.Manifests(name), mirrortree.Tags(name),
	} {
		_ = s.tree.remove(p) // what is not empty after all stays
	}
	for p := mirrortree.Repository(name); p != mirrortree.V2; p = path.Dir(p) {
		if s.tree.remove(p) != nil {
			return
		}
	}
}

// forget writes the state without what is gone.
func (s *sweep) forget() error {
	for _, list := range [][]string{s.gone.boot, s.gone.manifests, s.gone.referrers, s.gone.blobs} {
		for _, p := range list {
			delete(s.unneeded, p)
		}
	}
	for _, id := range s.report.Removed.Tags {
		delete(s.unneeded, "tag "+id)
	}
	return s.tree.writeState(s.state)
}

// tidy removes beginnings of blobs that no run will go on with: all, if nothing
// failed, else old ones.
func (r *run) tidy() error {
	if r.opts.DryRun {
		return nil
	}
	list, err := r.tree.list(partialDir)
	if err != nil {
		return fmt.Errorf("look for partial downloads: %w", err)
	}
	for _, e := range list {
		st, err := e.Info()
		if err != nil || len(r.report.Failures) > 0 && r.opts.Now().Sub(st.ModTime()) < DefaultGrace {
			continue
		}
		if err := r.tree.remove(path.Join(partialDir, e.Name())); err != nil {
			return fmt.Errorf("remove a partial download: %w", err)
		}
	}
	return nil
}
