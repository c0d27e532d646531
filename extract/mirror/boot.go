package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/spec"
)

// bootWish is an artifact whose layers are its files as they are: what machines
// boot from can be hard links to its blobs.
type bootWish struct {
	order int // of its reference, the first one wins
	desc  ocispec.Descriptor
	entry *ocispec.Descriptor
}

// wish notes what of an item can be laid out.
func (r *run) wish(ctx context.Context, j *job, order int) {
	raw := map[string]bootWish{}
	var others []leaf
	for _, l := range j.leaves {
		live, err := rawTree(l.manifest, l.entry)
		if err != nil {
			r.opts.Log("%s: its boot files are not laid out: %v", j.item, err)
		}
		if live == "" {
			others = append(others, l)
		} else if _, twice := raw[live]; !twice {
			raw[live] = bootWish{order, l.desc, l.entry}
		}
	}
	tree := j.treeWish(ctx, order, others)
	r.mu.Lock()
	defer r.mu.Unlock()
	for live, w := range raw {
		if other, ok := r.boot[live]; !ok || w.order < other.order {
			r.boot[live] = w
		}
	}
	if tree != nil {
		r.trees = append(r.trees, *tree)
	}
}

// rawTree gives the directory below boot/ for an artifact each of whose layers is
// a boot file as it is; "" for everything else, and where its labels do not
// suffice. The error says what is wrong with one that has them.
func rawTree(m *ocispec.Manifest, entry *ocispec.Descriptor) (live string, err error) {
	form, use := spec.FormOf(m, entry), spec.DiskTypeOf(m, entry)
	if !form.BootTree() || !form.NamesFiles() || form == spec.FormNboci || use != "" && use != spec.DiskTypeNetboot {
		return "", nil
	}
	labels, err := spec.ArtifactLabels(m, entry)
	if err != nil {
		return "", err
	}
	if live = liveOf(labels); live == "" {
		return "", nil
	}
	if _, err := rawFiles(m, entry); err != nil {
		return "", err
	}
	return live, nil
}

// liveOf is the default layout of extract: NAME/VERSION/ARCH.
func liveOf(labels map[string]string) string {
	live := ""
	for _, key := range []string{spec.LabelOSName, spec.LabelOSVersion, spec.LabelOSArch} {
		if spec.CheckPathLabel(key, labels[key]) != nil {
			return ""
		}
		live = path.Join(live, labels[key])
	}
	return live
}

// rawFiles gives the files of an artifact by path, with the links that firmware
// asks for. It fails for layers that are something else than a file as it is.
func rawFiles(m *ocispec.Manifest, entry *ocispec.Descriptor) (map[string]digest.Digest, error) {
	if err := spec.FirstError(spec.CheckDocuments(&spec.Image{MediaType: m.MediaType, Manifest: m, Entry: entry})); err != nil {
		return nil, err
	}
	files := map[string]digest.Digest{}
	for _, d := range m.Layers {
		l, ok, err := spec.ParseArtifactLayer(d)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if l.Dir || l.Codec != spec.CodecNone || l.Digest != "" && l.Digest != d.Digest {
			return nil, fmt.Errorf("layer %s is not a file as it is", d.Digest)
		}
		files[l.Path] = d.Digest
	}
	if len(files) == 0 {
		return nil, errors.New("it has no files")
	}
	labels, err := spec.ArtifactLabels(m, entry)
	if err != nil {
		return nil, err
	}
	for _, l := range spec.EntryLinks() {
		entrypoint := labels[l.Label]
		target, ok := files[entrypoint]
		if !ok {
			continue
		}
		link := spec.LinkFor(entrypoint, l.Name)
		names := []string{link}
		if strings.EqualFold(path.Ext(entrypoint), ".efi") {
			names = append(names, link+".efi") // firmware judges a file by its name
		}
		for _, name := range names {
			if _, taken := files[name]; !taken {
				files[name] = target
			}
		}
	}
	return files, nil
}

// layOut makes the directories of boot files.
func (r *run) layOut(ctx context.Context) error {
	for _, live := range slices.Sorted(maps.Keys(r.boot)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		changed, err := r.layOutRaw(ctx, live, r.boot[live])
		if err != nil {
			r.fail(path.Join(mirrortree.Boot, live), err)
			continue
		}
		r.report.Boot = append(r.report.Boot, BootTree{Path: path.Join(mirrortree.Boot, live), Digest: r.boot[live].desc.Digest, Changed: changed})
	}
	return r.layOutTrees(ctx)
}

// layOutRaw makes one directory hold the files of one artifact, in one step.
func (r *run) layOutRaw(ctx context.Context, live string, w bootWish) (changed bool, err error) {
	dir := path.Join(mirrortree.Boot, live)
	if r.opts.DryRun {
		return r.state.Boot[dir] != w.desc.Digest, r.mayReplace(dir)
	}
	files, err := r.filesOf(ctx, w)
	if err != nil {
		return false, err
	}
	same, err := r.tree.holdsFiles(dir, files)
	switch {
	case err != nil:
		return false, err
	case same && r.state.Boot[dir] == w.desc.Digest:
		return false, nil
	case same: // the state was lost, or another manifest has the same files
		r.state.Boot[dir] = w.desc.Digest
		return false, r.tree.writeState(r.state)
	}
	if err := r.mayReplace(dir); err != nil {
		return false, err
	}
	stage, dirty := r.tree.tmp(), &dirs{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		blob := mirrortree.Blob(files[name])
		if err := errors.Join(r.tree.follow(blob, path.Join(dir, name)), r.tree.link(blob, path.Join(stage, name), dirty)); err != nil {
			return false, err
		}
	}
	if err := errors.Join(r.tree.mkdir(path.Dir(dir), dirty), r.tree.sync(dirty)); err != nil {
		return false, err
	}
	// Remembered before it is there: what nobody remembers is left alone.
	r.state.Boot[dir] = w.desc.Digest
	if err := r.tree.writeState(r.state); err != nil {
		return false, err
	}
	return true, r.tree.replaceDir(stage, dir, r.opts.Log)
}

// filesOf reads the artifact again, from the tree: what was wished is kept small.
func (r *run) filesOf(ctx context.Context, w bootWish) (map[string]digest.Digest, error) {
	body, mt, err := r.here.Manifest(ctx, w.desc)
	if err != nil {
		return nil, err
	}
	m, err := spec.ParseManifest(mt, body)
	if err != nil {
		return nil, err
	}
	return rawFiles(m, w.entry)
}

// holdsFiles tells whether a directory has these hard links and nothing else.
func (t *tree) holdsFiles(dir string, files map[string]digest.Digest) (bool, error) {
	left := len(files)
	err := t.walkFiles(dir, func(name string, _ fs.FileInfo) bool {
		d, ok := files[name]
		if !ok || !t.same(mirrortree.Blob(d), path.Join(dir, name)) {
			left = -1
			return false
		}
		left--
		return true
	})
	return left == 0, err
}

// walkFiles calls f for everything below a directory that is none, until f is
// false. There may be no such directory.
func (t *tree) walkFiles(dir string, f func(name string, st fs.FileInfo) bool) error {
	if _, err := t.lstat(dir); err != nil {
		return nil
	}
	err := fs.WalkDir(t.root.FS(), dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := t.root.Lstat(p)
		if err != nil {
			return err
		}
		if !f(p[len(dir)+1:], st) {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look at %q: %w", dir, err)
	}
	return nil
}

// mayReplace refuses a directory that this mirror did not make, and one with files
// of the site: what is not linked to anything else did not come from a blob.
func (r *run) mayReplace(dir string) error {
	if _, err := r.tree.lstat(dir); err != nil {
		return nil
	}
	if r.state.Boot[dir] == "" {
		return fmt.Errorf("%q is there and was not made by this mirror", dir)
	}
	stranger := ""
	err := r.tree.walkFiles(dir, func(name string, st fs.FileInfo) bool {
		if !st.Mode().IsRegular() || links(st) < 2 {
			stranger = name
		}
		return stranger == ""
	})
	if err == nil && stranger != "" {
		err = fmt.Errorf("%q holds %q, which this mirror did not put there", dir, stranger)
	}
	return err
}

// replaceDir puts a staged directory in its place and removes the one before.
func (t *tree) replaceDir(stage, dir string, log func(string, ...any)) error {
	if _, err := t.lstat(dir); err != nil {
		return errors.Join(t.rename(stage, dir), t.syncOne(path.Dir(dir)))
	}
	if err := t.next(); err != nil {
		return err
	}
	swapped, err := t.exchange(stage, dir)
	if err != nil {
		return fmt.Errorf("replace %q: %w", dir, err)
	}
	if swapped {
		return errors.Join(t.syncOne(path.Dir(dir)), t.root.RemoveAll(stage))
	}
	log("%s: this file system cannot exchange directories, so for a moment it is not there", dir)
	old := t.tmp()
	if err := t.rename(dir, old); err != nil {
		return fmt.Errorf("replace %q: %w", dir, err)
	}
	if err := t.rename(stage, dir); err != nil {
		return errors.Join(fmt.Errorf("replace %q: %w", dir, err), t.rename(old, dir))
	}
	return errors.Join(t.syncOne(path.Dir(dir)), t.root.RemoveAll(old))
}

func (t *tree) syncOne(p string) error {
	dirty := &dirs{}
	dirty.add(p)
	return t.sync(dirty)
}
