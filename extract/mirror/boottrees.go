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
	if !j.opts.BootTrees || j.here == nil {
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

// config reads the config of an image from the tree.
func (j *job) config(ctx context.Context, m *ocispec.Manifest) (*ocispec.Image, error) {
	if !spec.IsConfig(m.Config.MediaType) || m.Config.Size > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleConfig, "", "no config of an image")
	}
	b, err := readBlob(ctx, j.here, m.Config)
	if err != nil {
		return nil, err
	}
	return spec.ParseConfig(b)
}

// treeSource gives what a reference names from the mirror.
type treeSource struct {
	transport.Source
	top ocispec.Descriptor
}

// Resolve implements transport.Source: what it names was found out before.
func (s treeSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	return s.top, ctx.Err()
}

// oneSource opens the mirror for one reference.
type oneSource struct {
	client *transport.Client
	dir    string
	top    ocispec.Descriptor
}

// Source implements extract.Sources.
func (s oneSource) Source(ctx context.Context, _ transport.Reference) (transport.Source, error) {
	src, err := s.client.Source(ctx, transport.Reference{Transport: transport.OCI, Name: s.dir})
	if err != nil {
		return nil, err
	}
	return treeSource{src, s.top}, nil
}

// layOutTrees lays out the boot trees of images.
func (r *run) layOutTrees(ctx context.Context) error {
	slices.SortFunc(r.trees, func(a, b treeWish) int { return a.order - b.order })
	for _, w := range r.trees {
		report, err := extract.Pull(ctx, oneSource{r.client, r.opts.Dir, w.top}, []transport.Reference{w.ref}, extract.Options{
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
