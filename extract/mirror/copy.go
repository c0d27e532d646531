package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// maxManifests bounds what one reference brings: an index can name indexes.
const maxManifests = 1 << 14

// job brings what one reference names. It holds the documents on the way to the
// one it is at, and no others.
type job struct {
	*run
	item
	src     transport.Source
	top     ocispec.Descriptor
	seen    map[digest.Digest]bool
	tagged  []tagged // tags to be set when all they name is there
	leaves  []leaf
	others  []resolve.Candidate // entries of the index that are for other platforms
	dirty   dirs
	changed bool
}

// tagged is a tag and what it is to name.
type tagged struct {
	tag    string
	digest digest.Digest
}

// node is a place below a reference.
type node struct {
	entry    *ocispec.Descriptor // what the index says; nil without one
	depth    int                 // manifests on the way to it
	attached bool                // it belongs to another, so nothing below it is left out or laid out
}

// leaf is an image or artifact of the reference, with what its index says.
type leaf struct {
	desc     ocispec.Descriptor
	entry    *ocispec.Descriptor // nil without an index
	manifest *ocispec.Manifest
}

// bring makes the mirror hold what an item names now.
func (r *run) bring(ctx context.Context, it item, order int) (*Image, error) {
	src, err := r.client.Source(ctx, it.ref)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	top, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	j := &job{run: r, item: it, src: src, seen: map[digest.Digest]bool{}}
	j.top = top
	if err := j.manifest(ctx, top, node{}); err != nil {
		return nil, err
	}
	if len(j.leaves) == 0 && len(j.others) > 0 {
		return nil, &resolve.PlatformError{Reference: it.ref.String(), Wanted: strings.Join(r.opts.Platforms, ","), Candidates: j.others}
	}
	if it.tag != "" {
		j.tagged = append(j.tagged, tagged{it.tag, top.Digest})
	}
	if err := j.tag(); err != nil {
		return nil, err
	}
	r.wish(ctx, j, order)
	return &Image{Reference: it.ref.String(), Repository: it.name, Tag: it.tag, Digest: top.Digest, Changed: j.changed}, nil
}

// manifest brings a manifest or index after all that it names, and gives it to
// the repository when that is there.
func (j *job) manifest(ctx context.Context, d ocispec.Descriptor, at node) error {
	if j.seen[d.Digest] {
		return nil
	}
	if len(j.seen) >= maxManifests {
		return spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d manifests to copy", maxManifests)
	}
	j.seen[d.Digest] = true
	body, mt, err := j.document(ctx, d)
	if err != nil {
		return err
	}
	kind, ok := mirrortree.KindOf(mt)
	if !ok {
		return spec.Refuse(spec.RuleMediaType, d.Digest.String(), "a mirror has no place for manifests of type %q", mt)
	}
	d = ocispec.Descriptor{MediaType: mt, Digest: d.Digest, Size: int64(len(body))}
	if spec.IsIndex(mt) {
		err = j.children(ctx, d, body, at)
	} else {
		err = j.parts(ctx, d, body, at)
	}
	if err != nil {
		return err
	}
	return j.publish(ctx, d, kind, at)
}

// document reads a manifest, from the tree if it is there.
func (j *job) document(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	if j.here != nil {
		body, mt, err := j.here.Manifest(ctx, d)
		if err == nil {
			return body, mt, nil
		}
		if ctx.Err() != nil {
			return nil, "", err
		}
		var absent *transport.NotFoundError
		if !errors.As(err, &absent) {
			j.opts.Warn("manifest %s in the mirror is damaged; it is fetched again", d.Digest)
		}
	}
	body, mt, err := j.src.Manifest(ctx, d)
	if err != nil {
		return nil, "", err
	}
	j.changed = true
	if j.opts.DryRun {
		return body, mt, nil
	}
	return body, mt, j.storeManifest(ctx, d, body, &j.dirty)
}

func (j *job) children(ctx context.Context, d ocispec.Descriptor, body []byte, at node) error {
	if at.depth >= spec.MaxIndexDepth {
		return spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d nested indexes", spec.MaxIndexDepth)
	}
	index, err := spec.ParseIndex(d.MediaType, body)
	if err != nil {
		return err
	}
	for i := range index.Manifests {
		child := &index.Manifests[i]
		if !at.attached && !j.wants(child) {
			if have, ok := spec.PlatformOf(child.Platform); ok {
				j.others = append(j.others, resolve.Candidate{Platform: have, Digest: child.Digest.String()})
			}
			continue
		}
		if err := j.manifest(ctx, *child, node{child, at.depth + 1, at.attached}); err != nil {
			return err
		}
	}
	return nil
}

// wants tells whether an entry of an index is for a platform that is mirrored. One
// that names none may be for any.
func (r *run) wants(entry *ocispec.Descriptor) bool {
	if len(r.wanted) == 0 || entry.Platform == nil {
		return true
	}
	have, ok := spec.PlatformOf(entry.Platform)
	return ok && slices.ContainsFunc(r.wanted, func(want spec.Platform) bool { return want.Matches(have) })
}

// parts brings config and layers, several at once.
func (j *job) parts(ctx context.Context, d ocispec.Descriptor, body []byte, at node) error {
	m, err := spec.ParseManifest(d.MediaType, body)
	if err != nil {
		return err
	}
	if !at.attached {
		j.leaves = append(j.leaves, leaf{desc: d, entry: at.entry, manifest: m})
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(j.opts.Jobs)
	parts := append([]ocispec.Descriptor{m.Config}, m.Layers...)
	fetched := make([]bool, len(parts))
	for i, p := range parts {
		if slices.ContainsFunc(parts[:i], func(o ocispec.Descriptor) bool { return o.Digest == p.Digest && o.Size == p.Size }) {
			continue
		}
		g.Go(func() (err error) {
			fetched[i], err = j.blob(gctx, j.src, p)
			var absent *transport.NotFoundError
			if errors.As(err, &absent) && len(p.URLs) > 0 {
				j.opts.Log("%s: layer %s is not in the registry, clients get it from elsewhere", j.item, p.Digest)
				return nil
			}
			return err
		})
	}
	err = g.Wait()
	for i, p := range parts {
		if fetched[i] {
			j.changed = true
			j.dirty.add(path.Dir(mirrortree.Blob(p.Digest)))
		}
	}
	return err
}

// publish gives a manifest to the repository, with what is attached to it.
func (j *job) publish(ctx context.Context, d ocispec.Descriptor, kind mirrortree.Kind, at node) error {
	place := mirrortree.Manifest(j.name, d.Digest, kind)
	_, err := j.tree.lstat(place)
	isNew := err != nil
	if j.opts.Attachments == AttachmentsAlways || isNew && j.opts.Attachments == AttachmentsNew {
		if err := j.attachments(ctx, d.Digest, at.depth+1); err != nil {
			return err
		}
	}
	if j.tree.same(mirrortree.Blob(d.Digest), place) {
		return nil
	}
	j.changed = true
	if j.opts.DryRun {
		return nil
	}
	return j.tree.link(mirrortree.Blob(d.Digest), place, &j.dirty)
}

// tag sets the tags, when all that they name has reached the disk.
func (j *job) tag() error {
	if j.opts.DryRun {
		for _, t := range j.tagged {
			j.changed = j.changed || j.tree.names(j.name, t.tag) != t.digest
		}
		return nil
	}
	moved := slices.DeleteFunc(slices.Clone(j.tagged), func(t tagged) bool { return j.tree.names(j.name, t.tag) == t.digest })
	if len(moved) > 0 {
		if err := j.needed(); err != nil {
			return err
		}
	}
	if err := j.tree.sync(&j.dirty); err != nil {
		return err
	}
	for _, t := range moved {
		j.changed = true
		if err := j.tree.followTag(j.name, t); err != nil {
			return err
		}
		if err := j.tree.symlink(mirrortree.TagTarget(t.digest), mirrortree.Tag(j.name, t.tag), &j.dirty); err != nil {
			return err
		}
	}
	// A repository is one by its directory of tags, be it empty.
	if err := j.tree.mkdir(mirrortree.Tags(j.name), &j.dirty); err != nil {
		return err
	}
	return j.tree.sync(&j.dirty)
}

// needed adds to dirty all directories that a tag of the job needs: what is in them
// may have been brought by another job of this run, which has not synced them yet.
func (j *job) needed() error {
	algorithms, err := j.tree.list(mirrortree.Blobs)
	if err != nil {
		return fmt.Errorf("look for blobs: %w", err)
	}
	j.dirty.add(mirrortree.Blobs)
	for _, a := range algorithms {
		j.dirty.add(path.Join(mirrortree.Blobs, a.Name()))
	}
	j.dirty.add(mirrortree.ReferrersDir(j.name))
	for d := range j.seen {
		for p := mirrortree.ManifestDir(j.name, d); p != "."; p = path.Dir(p) {
			j.dirty.add(p)
		}
	}
	return nil
}

// followTag makes the manifest that a tag will name a later file than the one that
// it names.
func (t *tree) followTag(name string, to tagged) error {
	was := t.names(name, to.tag)
	if was == "" {
		return nil
	}
	for _, k := range mirrortree.Kinds() {
		if err := t.follow(mirrortree.Blob(to.digest), mirrortree.Manifest(name, was, k)); err != nil {
			return fmt.Errorf("move tag %q: %w", to.tag, err)
		}
	}
	return nil
}

// names gives the digest that a tag of the tree names, "" if there is no such tag.
func (t *tree) names(name, tag string) digest.Digest {
	if t.root == nil {
		return ""
	}
	target, err := t.root.Readlink(mirrortree.Tag(name, tag))
	if err != nil {
		return ""
	}
	d, err := mirrortree.TagDigest(target)
	if err != nil {
		return ""
	}
	return d
}

// indexOf gives the bytes of an index.
func indexOf(manifests []ocispec.Descriptor) []byte {
	if manifests == nil {
		manifests = []ocispec.Descriptor{}
	}
	index := struct {
		SchemaVersion int                  `json:"schemaVersion"`
		MediaType     string               `json:"mediaType"`
		Manifests     []ocispec.Descriptor `json:"manifests"`
	}{2, ocispec.MediaTypeImageIndex, manifests}
	b, err := json.Marshal(index)
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return b
}
