package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// fileResolver finds the one file that a reference means to Ironic. What it
// decides, and in which order, is what Ironic's OCI client does; docs/ironic.md
// has the rules in words and the few differences.
type fileResolver struct {
	src    transport.Source
	ref    transport.Reference
	arch   string // of the machine; empty: any
	source string // SourceLocal or SourceHTTP
	log    func(format string, args ...any)
	warn   func(format string, args ...any)
}

// fileChoice is the outcome.
type fileChoice struct {
	index    digest.Digest // of the index, where the tag names one
	manifest digest.Digest
	layer    ocispec.Descriptor // without digest: a container, which is no file
	disktype string
	arch     string // as the index says
	bootc    bool   // not marked as an artifact, so Ironic takes it for a bootable container
	pinned   bool   // named by its digest
}

// format gives the disk format in Ironic's words; empty where nothing says.
func (c *fileChoice) format() string {
	switch {
	case c.bootc:
		return "bootc"
	case c.pinned:
		return "unknown"
	}
	switch c.disktype {
	case "applehv":
		return "raw"
	case "qemu":
		return "qcow2"
	}
	return c.disktype
}

// fileEntry is a manifest that may be chosen.
type fileEntry struct {
	desc     ocispec.Descriptor
	weight   int // lighter ones are tried first
	artifact bool
	manifest *ocispec.Manifest // known already where it is not the entry of an index
}

// resolve decides by digest where the reference has one, else by tag.
func (r *fileResolver) resolve(ctx context.Context) (*fileChoice, error) {
	if r.ref.Digest != "" {
		return r.byDigest(ctx)
	}
	top, err := r.src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	raw, mediaType, err := r.src.Manifest(ctx, top)
	if err != nil {
		return nil, err
	}
	if spec.IsManifest(mediaType) {
		return r.lone(ctx, top, mediaType, raw)
	}
	index, err := spec.ParseIndex(mediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", top.Digest, err)
	}
	r.warnOfNulls(raw)
	choice, err := r.choose(ctx, r.entries(index.Manifests))
	if err != nil {
		return nil, err
	}
	if choice == nil {
		return nil, r.nothing(index.Manifests)
	}
	choice.index = top.Digest
	return choice, nil
}

// byDigest takes the manifest that is named; nothing is left to choose.
func (r *fileResolver) byDigest(ctx context.Context) (*fileChoice, error) {
	raw, mediaType, err := r.src.Manifest(ctx, ocispec.Descriptor{Digest: r.ref.Digest, Size: -1})
	if err != nil {
		return nil, err
	}
	if spec.IsIndex(mediaType) {
		return nil, &notFoundError{
			fmt.Sprintf("%q names an index, and no manifest with a file", r.ref),
			"name one of its manifests by digest, or the index by its tag",
		}
	}
	m, err := spec.ParseManifest(mediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", r.ref.Digest, err)
	}
	choice := &fileChoice{manifest: r.ref.Digest, bootc: !ironicArtifact(m), pinned: true}
	if len(m.Layers) == 1 {
		choice.layer = m.Layers[0]
		if choice.bootc {
			r.warn("manifest %s has no artifactType: to Ironic it is a bootable container", r.ref.Digest)
		}
	} else if !choice.bootc {
		return nil, &spec.Refusal{
			Reason: fmt.Sprintf("manifest %s has %d layers, and a file is a manifest with one", r.ref.Digest, len(m.Layers)),
			Advice: "nbextract pull lays out artifacts of several files",
		}
	}
	return choice, nil
}

// ironicArtifact tells artifacts from container images.
func ironicArtifact(m *ocispec.Manifest) bool {
	return m.ArtifactType != "" || m.Config.MediaType == ocispec.MediaTypeEmptyJSON
}

// lone judges a tag that names a manifest and no index. It has no platform, so
// no architecture excludes it.
func (r *fileResolver) lone(ctx context.Context, top ocispec.Descriptor, mediaType string, raw []byte) (*fileChoice, error) {
	m, err := spec.ParseManifest(mediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", top.Digest, err)
	}
	var own struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(raw, &own); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", top.Digest, err)
	}
	if own.MediaType != ocispec.MediaTypeImageManifest {
		refusal := spec.Refuse(spec.RuleMediaType, "", "manifest %s says of itself that it is %q, not %q", top.Digest, own.MediaType, ocispec.MediaTypeImageManifest)
		refusal.Advice = "Ironic takes no such manifest by its tag; name it by its digest"
		return nil, refusal
	}
	weight, wanted := r.weigh(m.Annotations[spec.AnnotationDiskType])
	var entries []fileEntry
	if wanted {
		desc := top
		desc.Annotations = m.Annotations
		entries = []fileEntry{{desc: desc, weight: weight, artifact: ironicArtifact(m), manifest: m}}
	}
	choice, err := r.choose(ctx, entries)
	if choice == nil && err == nil {
		err = &notFoundError{
			fmt.Sprintf("%q is a manifest of %d layers and disktype %q, not a disk image", r.ref, len(m.Layers), m.Annotations[spec.AnnotationDiskType]),
			"name a file that is no disk by its digest: " + fileURL(r.ref, top.Digest),
		}
	}
	return choice, err
}

// entries filters those of an index by architecture and disktype, and brings
// them into the order in which they are tried. Equal ones keep theirs.
func (r *fileResolver) entries(manifests []ocispec.Descriptor) []fileEntry {
	var list []fileEntry
	archs := map[string]bool{}
	for _, d := range manifests {
		if !sameArch(r.arch, archOf(d)) {
			continue
		}
		weight, wanted := r.weigh(d.Annotations[spec.AnnotationDiskType])
		if !wanted {
			continue
		}
		archs[archOf(d)] = true
		list = append(list, fileEntry{desc: d, weight: weight, artifact: d.ArtifactType != ""})
	}
	if r.arch == "" && len(archs) > 1 {
		r.warn("%q has files for several architectures, and none was asked for with --arch", r.ref)
	}
	slices.SortStableFunc(list, func(a, b fileEntry) int { return cmp.Compare(a.weight, b.weight) })
	return list
}

// weigh ranks a disktype for the source: a conductor that downloads the image
// itself converts qcow2, everybody else wants it raw. Without a disktype an
// entry comes last, with an unknown one it is not meant for Ironic.
func (r *fileResolver) weigh(disktype string) (weight int, wanted bool) {
	if disktype == "" {
		return 100, true
	}
	order := []string{"raw", "applehv", "qcow2", "qemu"}
	if r.source == SourceLocal {
		order = []string{"qcow2", "qemu", "raw", "applehv"}
	}
	weight = slices.Index(order, disktype)
	return weight, weight >= 0
}

func archOf(d ocispec.Descriptor) string {
	if d.Platform == nil {
		return ""
	}
	return d.Platform.Architecture
}

// sameArch compares as Ironic does: two architectures have two names each,
// which indexes use, too; the others must be equal; silence excludes nothing.
func sameArch(want, have string) bool {
	name := func(arch string) string {
		switch arch {
		case "x86_64":
			return "amd64"
		case "aarch64":
			return "arm64"
		}
		return arch
	}
	return want == "" || have == "" || name(want) == name(have)
}

// choose takes the first entry that is one file. No choice is no error here.
func (r *fileResolver) choose(ctx context.Context, entries []fileEntry) (*fileChoice, error) {
	for _, e := range entries {
		choice := &fileChoice{
			manifest: e.desc.Digest,
			disktype: e.desc.Annotations[spec.AnnotationDiskType],
			arch:     archOf(e.desc),
		}
		if choice.disktype == "" && !e.artifact && !spec.IsIndex(e.desc.MediaType) {
			choice.bootc = true
			return choice, nil
		}
		m, err := r.manifest(ctx, e)
		if err != nil {
			return nil, err
		}
		if len(m.Layers) == 1 {
			choice.layer = m.Layers[0]
			return choice, nil
		}
		r.log("manifest %s is passed over: it has %d layers", e.desc.Digest, len(m.Layers))
	}
	return nil, nil
}

func (r *fileResolver) manifest(ctx context.Context, e fileEntry) (*ocispec.Manifest, error) {
	if e.manifest != nil {
		return e.manifest, nil
	}
	if spec.IsIndex(e.desc.MediaType) {
		return nil, &notFoundError{
			fmt.Sprintf("entry %s of %q is an index, and files are looked for in the first index only", e.desc.Digest, r.ref),
			"name a manifest by its digest",
		}
	}
	raw, mediaType, err := r.src.Manifest(ctx, e.desc)
	if err != nil {
		return nil, err
	}
	m, err := spec.ParseManifest(mediaType, raw)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", e.desc.Digest, err)
	}
	return m, nil
}

// nothing says what there is instead.
func (r *fileResolver) nothing(manifests []ocispec.Descriptor) error {
	var have []string
	for _, d := range manifests {
		what := fmt.Sprintf("%q for %q", d.Annotations[spec.AnnotationDiskType], archOf(d))
		if !slices.Contains(have, what) {
			have = append(have, what)
		}
	}
	const most = 12
	if len(have) > most {
		have = append(have[:most], "and more")
	}
	return &notFoundError{
		fmt.Sprintf("%q has no disk image for architecture %q; its entries are: %s", r.ref, r.arch, strings.Join(have, ", ")),
		"name a file that is no disk by its digest",
	}
}

// warnOfNulls tells of what makes Ironic drop a whole index, while here it
// means the same as an absent key.
func (r *fileResolver) warnOfNulls(raw []byte) {
	var doc struct {
		Manifests []map[string]json.RawMessage `json:"manifests"`
	}
	if json.Unmarshal(raw, &doc) != nil {
		return // the strict parser had no complaint, and this is a mere warning
	}
	for i, entry := range doc.Manifests {
		for _, key := range []string{"annotations", "platform"} {
			if string(entry[key]) == "null" {
				r.warn("entry %d of the index of %q has \"%s\": null, on which Ironic itself fails", i, r.ref, key)
				return
			}
		}
	}
}

// fileURL names a manifest as Ironic's users write it; where that is not in a
// registry, as our own.
func fileURL(ref transport.Reference, manifest digest.Digest) string {
	ref.Tag, ref.Digest = "", manifest
	if name, ok := strings.CutPrefix(ref.String(), transport.Docker+"://"); ok {
		return "oci://" + name
	}
	return ref.String()
}
