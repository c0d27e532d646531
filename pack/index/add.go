package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// AddChildren puts children into the index at a tag, which it makes if there is
// none. They are in the repository, under their child tags, and name the index
// in their manifests, as nbpack builds them (spec.AnnotationIndexTag,
// spec.AnnotationIndexPlatform).
func AddChildren(ctx context.Context, repo Repository, tag string, children []ocispec.Descriptor, o Options) (*Result, error) {
	r := newRun(repo, tag, o)
	for _, d := range children {
		_, body, err := repo.Get(ctx, d.Digest.String())
		if err != nil {
			return nil, fmt.Errorf("read a child of index %q: %w", tag, err)
		}
		c, err := parseChild(tag, d, body)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read a child of index %q: %w", tag, err)
		case c == nil || c.tomb:
			return nil, fmt.Errorf("%s is not a child of index %q", d.Digest, tag)
		}
		m := &member{wish: wish{entry: c.entry, keys: c.keys, asked: true}, digest: d.Digest, mediaType: d.MediaType, body: body}
		if m.tag, err = childTag(tag, m.entry, m.keys); err != nil {
			return nil, err
		}
		r.own = append(r.own, m)
	}
	unlock, err := repo.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	res, err := r.settle(ctx)
	if err != nil || o.DryRun {
		return res, err
	}
	for _, m := range r.own {
		if err := r.nickname(ctx, m); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// nickname gives a child whose tag has a hash the short one, too, unless that
// is the tag of another child. It counts for nothing; people and scripts like it.
func (r *run) nickname(ctx context.Context, m *member) error {
	short := shortTag(r.tag, m.entry)
	if short == m.tag || m.overtaken || !tagWord.MatchString(strings.TrimPrefix(short, r.tag)) {
		return nil
	}
	d, body, err := r.repo.Get(ctx, short)
	var none *transport.NotFoundError
	switch {
	case errors.As(err, &none):
	case err != nil:
		return fmt.Errorf("read tag %q: %w", short, err)
	case d.Digest == m.digest:
		return nil
	default:
		if c, err := parseChild(r.tag, d, body); err == nil && c != nil && !c.tomb {
			if own, err := childTag(r.tag, c.entry, c.keys); err == nil && own == short {
				return nil
			}
		}
	}
	_, err = r.repo.Put(ctx, short, m.mediaType, m.body, transport.PutOptions{IfMatch: d.Digest})
	if err != nil && !errors.Is(err, transport.ErrChanged) { // somebody was faster
		return fmt.Errorf("write tag %q: %w", short, err)
	}
	return nil
}

// Check tells whether the tag names an index that can be added to, or nothing.
// A build asks before it begins; nothing is promised for later.
func Check(ctx context.Context, repo Repository, tag string, o Options) error {
	r := newRun(repo, tag, o)
	return r.readIndex(ctx, &snapshot{})
}

// AddOptions say what AddSources puts into an index.
type AddOptions struct {
	Options
	// Platform picks one entry of a source that is an index; of another source
	// it becomes the platform of the entry. Zero: what the source says.
	Platform spec.Platform
	// All takes every entry of a source that is an index.
	All bool
	// Annotations of the entry besides those that the content gives it. An
	// empty value takes one away.
	Annotations map[string]string
	// ArtifactType of the entry; nil for that of the content.
	ArtifactType *string
	// Identity are the annotations that, with platform and artifactType, tell
	// entries apart. None: disktype.
	Identity []string
}

func (o *AddOptions) keys() []string { return cleanKeys(o.Identity) }

// AddSources copies content of any kind into the repository, raw, gives it child
// tags, and puts it into the index at a tag, which it makes if there is none. It
// replaces entries of the same identity.
func AddSources(ctx context.Context, repo Repository, tag string, sources []Source, o AddOptions) (*Result, error) {
	r := newRun(repo, tag, o.Options)
	var from []Source // of each member
	for _, src := range sources {
		found, err := pick(ctx, src, &o)
		if err != nil {
			return nil, fmt.Errorf("source %q: %w", src.Name, err)
		}
		for _, c := range found {
			m, err := r.memberOf(c, &o)
			if err != nil {
				return nil, fmt.Errorf("source %q: %w", src.Name, err)
			}
			if i := slices.IndexFunc(r.own, func(other *member) bool { return other.tag == m.tag }); i >= 0 {
				return nil, badUse("tell them apart with --annotation and --identity, or add them one by one",
					"%s and %s would be one entry of the index", shown(r.own[i].entry), shown(m.entry))
			}
			r.own, from = append(r.own, m), append(from, src)
		}
	}
	// What cannot become an index shall not cost a long copy.
	if err := Check(ctx, repo, tag, o.Options); err != nil {
		return nil, err
	}
	if !o.DryRun {
		for i, m := range r.own {
			if err := repo.Copy(ctx, from[i], m.entry); err != nil {
				return nil, err
			}
		}
	}
	unlock, err := repo.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if !o.DryRun {
		for _, m := range r.own {
			if err := r.tagMember(ctx, m); err != nil {
				return nil, err
			}
		}
	}
	return r.settle(ctx)
}

// memberOf makes a child of content that keeps its own bytes.
func (r *run) memberOf(c *content, o *AddOptions) (*member, error) {
	if c.form() == spec.FormTombstone {
		return nil, badUse("add what it stood for", "%s is the mark of a removed entry", c.desc.Digest)
	}
	e, err := c.entry(o)
	if err != nil {
		return nil, err
	}
	keys := o.keys()
	if e.Annotations[annotationReference] != "" && !slices.Contains(keys, annotationReference) {
		keys = cleanKeys(append(slices.Clone(keys), annotationReference))
	}
	for _, k := range o.Identity {
		if e.Annotations[k] == "" {
			return nil, badUse(fmt.Sprintf("give it one: --annotation %s=VALUE", k), "%s has no annotation %q to tell it by", e.Digest, k)
		}
	}
	m := &member{wish: wish{entry: e, keys: keys, asked: true}, mediaType: ocispec.MediaTypeImageIndex}
	if m.tag, err = childTag(r.tag, e, keys); err != nil {
		return nil, err
	}
	if m.body, err = childIndex(r.tag, e, keys); err != nil {
		return nil, err
	}
	m.digest = digest.FromBytes(m.body)
	return m, nil
}

// pick gives the manifests of a source that the options ask for.
func pick(ctx context.Context, src Source, o *AddOptions) ([]*content, error) {
	top, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	// What a layout says about its images is not about the entry.
	top = ocispec.Descriptor{MediaType: top.MediaType, Digest: top.Digest, Size: top.Size}
	raw, mediaType, err := src.Manifest(ctx, top)
	if err != nil {
		return nil, err
	}
	top.MediaType, top.Size = mediaType, int64(len(raw))
	if !spec.IsIndex(mediaType) {
		c, err := readContent(ctx, src, top, raw)
		if err != nil {
			return nil, err
		}
		return []*content{c}, nil
	}
	leaves, err := leavesOf(ctx, src, top, raw, 0)
	if err != nil {
		return nil, err
	}
	if leaves, err = choose(leaves, o); err != nil {
		return nil, err
	}
	var all []*content
	for _, d := range leaves {
		c, err := readListed(ctx, src, d)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// readListed reads the manifest of an index entry.
func readListed(ctx context.Context, src reader, d ocispec.Descriptor) (*content, error) {
	raw, mediaType, err := src.Manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	c, err := readContent(ctx, src, ocispec.Descriptor{MediaType: mediaType, Digest: d.Digest}, raw)
	if err != nil {
		return nil, err
	}
	d.Annotations = maps.Clone(d.Annotations)
	delete(d.Annotations, ocispec.AnnotationRefName) // a name in another place
	c.listed = &d
	return c, nil
}

// leavesOf gives the manifests of an index and of the indexes in it.
func leavesOf(ctx context.Context, src reader, d ocispec.Descriptor, raw []byte, depth int) ([]ocispec.Descriptor, error) {
	if depth >= spec.MaxIndexDepth {
		return nil, spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d nested indexes", spec.MaxIndexDepth)
	}
	x, err := spec.ParseIndex(d.MediaType, raw)
	if err != nil {
		return nil, err
	}
	var leaves []ocispec.Descriptor
	for _, e := range x.Manifests {
		if !spec.IsIndex(e.MediaType) {
			leaves = append(leaves, e)
			continue
		}
		below, mediaType, err := src.Manifest(ctx, e)
		if err != nil {
			return nil, err
		}
		e.MediaType = mediaType
		more, err := leavesOf(ctx, src, e, below, depth+1)
		if err != nil {
			return nil, err
		}
		leaves = append(leaves, more...)
	}
	return leaves, nil
}

// choose keeps the leaves that the options ask for.
func choose(leaves []ocispec.Descriptor, o *AddOptions) ([]ocispec.Descriptor, error) {
	if o.All {
		return leaves, nil
	}
	if o.Platform == (spec.Platform{}) {
		if len(leaves) == 1 {
			return leaves, nil
		}
		return nil, badUse("choose one with --platform, or take --all", "this is an index of %d entries: %s", len(leaves), list(leaves))
	}
	have := make([]spec.Platform, len(leaves))
	for i, d := range leaves {
		have[i], _ = spec.PlatformOf(d.Platform)
	}
	at := spec.Select(o.Platform, have)
	switch len(at) {
	case 1:
		return []ocispec.Descriptor{leaves[at[0]]}, nil
	case 0:
		return nil, noEntry("no entry for "+o.Platform.IndexString(), leaves)
	}
	var found []ocispec.Descriptor
	for _, i := range at {
		found = append(found, leaves[i])
	}
	return nil, badUse("name one of them by its digest, as SOURCE@DIGEST", "the index has %d entries for %s: %s", len(found), o.Platform, list(found))
}
