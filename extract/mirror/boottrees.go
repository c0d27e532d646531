package mirror

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"

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
	order     int
	ref       transport.Reference
	top       ocispec.Descriptor
	platforms []string
}

// treeWish gives the platforms of a reference that are to be laid out: not those
// that raw has, since the same files twice take room.
func (j *job) treeWish(ctx context.Context, order int, leaves []leaf, raw map[string]bootWish) *treeWish {
	if !j.opts.BootTrees {
		return nil
	}
	w := &treeWish{order: order, ref: j.ref, top: j.top}
	for _, l := range leaves {
		live, platform, ok := j.bootTree(ctx, l)
		if _, twice := raw[live]; ok && !twice && !slices.Contains(w.platforms, platform) {
			w.platforms = append(w.platforms, platform)
		}
	}
	if w.platforms == nil {
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

// opener opens the mirror for one reference; in a dry run the place it comes from.
type opener struct {
	*run
	top ocispec.Descriptor
}

// Source implements extract.Sources.
func (o opener) Source(ctx context.Context, ref transport.Reference) (transport.Source, error) {
	if !o.opts.DryRun {
		ref = transport.Reference{Transport: transport.OCI, Name: o.opts.Dir}
	}
	src, err := o.client.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	return knownSource{src, o.top}, nil
}

// layOutTrees lays out the boot trees of images.
func (r *run) layOutTrees(ctx context.Context) error {
	slices.SortFunc(r.trees, func(a, b treeWish) int { return a.order - b.order })
	for _, w := range r.trees {
		report, err := extract.Pull(ctx, opener{r, w.top}, []transport.Reference{w.ref}, extract.Options{
			Dir: r.bootDir(), Platforms: w.platforms, Catalog: catalogName, Keep: bootdir.DefaultKeep,
			DryRun: r.opts.DryRun, Checksum: r.opts.Checksum, AllowDowngrade: true, // tags may step back; the mirror follows
			Now: r.opts.Now, Log: r.opts.Log, Warn: r.opts.Warn,
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, t := range report.Trees {
			r.report.Boot = append(r.report.Boot, BootTree{
				Path: path.Join(mirrortree.Boot, t.Path), Digest: asDigest(t.Digest), Changed: t.Changed,
			})
		}
		if err != nil {
			r.fail(w.ref.String(), err)
		}
	}
	return nil
}

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
