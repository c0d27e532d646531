package mirror

import (
	"context"
	"errors"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// catalogName is recorded with the boot trees of images, so that they are told
// from those that somebody pulled into the same directory.
const catalogName = "mirror"

// treeWish is a reference with boot trees whose files lie inside layers. They are
// laid out as nbextract pull does, but from the mirror.
type treeWish struct {
	order int
	ref   transport.Reference
	top   ocispec.Descriptor
	lives map[string]string // platform by the path below boot/
}

// treeWish gives what can be laid out of a reference; nil for nothing.
func (j *job) treeWish(ctx context.Context, order int, leaves []leaf) *treeWish {
	if !j.opts.BootTrees {
		return nil
	}
	w := &treeWish{order: order, ref: j.ref, top: j.top, lives: map[string]string{}}
	for _, l := range leaves {
		if live, platform, ok := j.bootTree(ctx, l); ok && w.lives[live] == "" {
			w.lives[live] = platform
		}
	}
	if len(w.lives) == 0 {
		return nil
	}
	return w
}

// bootTree tells whether a leaf is netboot content that can be laid out, and
// where and for which platform. What cannot be read is none: it was brought, and
// that is what counts.
func (j *job) bootTree(ctx context.Context, l leaf) (live, platform string, ok bool) {
	form, use := spec.FormOf(l.manifest, l.entry), spec.DiskTypeOf(l.manifest, l.entry)
	if !form.BootTree() || use != "" && use != spec.DiskTypeNetboot {
		return "", "", false
	}
	var labels map[string]string
	var p spec.Platform
	if form.NamesFiles() {
		var err error
		if labels, err = spec.ArtifactLabels(l.manifest, l.entry); err != nil {
			return "", "", false
		}
		if p, ok, err = spec.ArtifactPlatform(labels, l.entry); err != nil || !ok {
			return "", "", false
		}
	} else {
		config, err := j.config(ctx, l.manifest)
		if err != nil {
			return "", "", false
		}
		if labels, err = spec.MergeLabels(config.Config.Labels, l.manifest.Annotations); err != nil || labels[spec.LabelVersion] == "" {
			return "", "", false
		}
		if p, ok = spec.PlatformOf(&config.Platform); !ok {
			return "", "", false
		}
	}
	live = liveOf(labels)
	return live, p.String(), live != ""
}

// config reads the config of an image, in a dry run from where it would come.
func (j *job) config(ctx context.Context, m *ocispec.Manifest) (*ocispec.Image, error) {
	if !spec.IsConfig(m.Config.MediaType) || m.Config.Size > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleConfig, "", "no config of an image")
	}
	src := j.here
	if j.opts.DryRun {
		src = j.src
	}
	b, err := readBlob(ctx, src, m.Config)
	if err != nil {
		return nil, err
	}
	return spec.ParseConfig(b)
}

// knownSource is a source that need not be asked what a reference names.
type knownSource struct {
	transport.Source
	top ocispec.Descriptor
}

// Resolve implements transport.Source.
func (s knownSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	return s.top, ctx.Err()
}

// opener opens what references name from the mirror; in a dry run from where they
// come.
type opener struct {
	*run
	tops map[transport.Reference]ocispec.Descriptor
}

// Source implements extract.Sources.
func (o *opener) Source(ctx context.Context, ref transport.Reference) (transport.Source, error) {
	if !o.opts.DryRun {
		return shared{knownSource{o.here, o.tops[ref]}}, ctx.Err()
	}
	src, err := o.client.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	return knownSource{src, o.tops[ref]}, nil
}

// shared is a source that others use, too.
type shared struct{ knownSource }

// Close implements transport.Source.
func (shared) Close() error { return nil }

// layOutTrees lays out the boot trees of images. Of several for one directory the
// first has it, artifacts before images: the same files twice take room.
func (r *run) layOutTrees(ctx context.Context) error {
	slices.SortFunc(r.trees, func(a, b treeWish) int { return a.order - b.order })
	taken := map[string]bool{}
	for live := range r.boot {
		taken[live] = true
	}
	sources := &opener{r, map[transport.Reference]ocispec.Descriptor{}}
	batches := map[string][]transport.Reference{} // by the platforms to lay out
	for _, w := range r.trees {
		var platforms []string
		for live, p := range w.lives {
			if !taken[live] && !slices.Contains(platforms, p) {
				platforms = append(platforms, p)
			}
			taken[live] = true
		}
		if platforms == nil {
			continue
		}
		slices.Sort(platforms)
		sources.tops[w.ref] = w.top
		key := strings.Join(platforms, ",")
		batches[key] = append(batches[key], w.ref)
	}
	for _, key := range slices.Sorted(maps.Keys(batches)) {
		if err := r.pull(ctx, sources, batches[key], strings.Split(key, ",")); err != nil {
			return err
		}
	}
	return nil
}

// pull lays out the trees of references, in one go because a boot directory with
// many trees takes a while to open. A reference that fails is left out of another
// go.
func (r *run) pull(ctx context.Context, sources *opener, refs []transport.Reference, platforms []string) error {
	changed := map[string]bool{}
	for len(refs) > 0 {
		failed := &failedHook{}
		report, err := extract.Pull(ctx, sources, refs, extract.Options{
			Dir: r.bootDir(), Platforms: platforms, Catalog: catalogName, Keep: bootdir.DefaultKeep,
			DryRun: r.opts.DryRun, Checksum: r.opts.Checksum, AllowDowngrade: true, // tags may step back; the mirror follows
			Now: r.opts.Now, Log: r.opts.Log, Warn: r.opts.Warn, Hooks: failed,
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, t := range report.Trees {
			changed[t.Path] = changed[t.Path] || t.Changed
		}
		at := slices.IndexFunc(refs, func(ref transport.Reference) bool { return ref.String() == failed.reference })
		if err == nil || at < 0 {
			for _, t := range report.Trees {
				r.report.Boot = append(r.report.Boot, BootTree{
					Path: path.Join(mirrortree.Boot, t.Path), Digest: digest.Digest(t.Digest), Changed: changed[t.Path],
				})
			}
			if err != nil {
				r.fail(mirrortree.Boot, err)
			}
			return nil
		}
		r.fail(refs[at].String(), err)
		refs = slices.Delete(slices.Clone(refs), at, at+1)
	}
	return nil
}

// failedHook notes which reference ended a pull.
type failedHook struct{ reference string }

// PreCommit implements extract.Hooks.
func (*failedHook) PreCommit(context.Context, *extract.TreeChange) error { return nil }

// PostCommit implements extract.Hooks.
func (*failedHook) PostCommit(context.Context, *extract.TreeChange) error { return nil }

// Failed implements extract.Hooks.
func (h *failedHook) Failed(_ context.Context, f *extract.Failure) { h.reference = f.Reference }

func (r *run) bootDir() string { return r.tree.abs(mirrortree.Boot) }

// readBlob reads a small blob whole.
func readBlob(ctx context.Context, src transport.Source, d ocispec.Descriptor) ([]byte, error) {
	body, err := src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(body)
	return b, errors.Join(err, body.Close())
}
