package catalogrun

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// childRecheck is how long it is believed, without a look at its manifest, that
// a tag belongs to an index which did not move.
const childRecheck = 24 * time.Hour

// listing is what the entry of a repository or of a catalog index finds.
type listing struct {
	tags []string // or the names of releases
	err  error
}

// expand turns entries into items. An entry that cannot be resolved now is a
// failure, and nothing is removed in this run.
func (s *dirRun) expand(ctx context.Context) error {
	lists := s.listTags(ctx)
	for _, e := range s.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		switch e.Kind {
		case catalog.KindImage:
			err = s.add(e, e.Reference, "", ocispec.Descriptor{})
		case catalog.KindRepository:
			err = s.expandRepository(ctx, e, lists[e])
		case catalog.KindIndex:
			err = s.expandIndex(ctx, e)
		}
		if err != nil && ctx.Err() == nil {
			s.partial = true
			s.fail(ctx, &item{entry: e, ref: e.Reference, opts: s.opts.Options}, err)
		}
	}
	s.report.References += len(s.items)
	return ctx.Err()
}

// add makes an item, unless an earlier entry has named the same.
func (s *dirRun) add(e *catalog.Entry, ref transport.Reference, release string, top ocispec.Descriptor) error {
	it, err := s.newItem(e, ref, release)
	if err != nil {
		return err
	}
	if s.named[it.key()] {
		return nil
	}
	s.named[it.key()] = true
	it.top, it.answer = top, s.answerTo(e, ref)
	s.items = append(s.items, it)
	return nil
}

// listTags asks for the tags of each repository once.
func (s *dirRun) listTags(ctx context.Context) map[*catalog.Entry]*listing {
	lists := map[*catalog.Entry]*listing{}
	byName := map[string]*listing{}
	var g errgroup.Group
	g.SetLimit(s.concurrency())
	for _, e := range s.entries {
		if e.Kind != catalog.KindRepository {
			continue
		}
		key := fmt.Sprint(e.Reference.String(), e.TLSVerify != nil, e.TLSVerify == nil || *e.TLSVerify)
		l := byName[key]
		lists[e] = l
		if l != nil {
			continue
		}
		l = &listing{}
		byName[key], lists[e] = l, l
		g.Go(func() error {
			if l.err = s.breaker.open(e.Reference.Host()); l.err != nil {
				return nil
			}
			var c *transport.Client
			if c, l.err = s.opts.Client(e.TLSVerify); l.err == nil {
				l.tags, l.err = c.Tags(ctx, e.Reference)
				s.breaker.note(e.Reference.Host(), l.err)
			}
			return nil
		})
	}
	_ = g.Wait()
	return lists
}

func (s *dirRun) concurrency() int {
	if n := s.cat.Concurrency; n != nil {
		return *n
	}
	return defaultConcurrency
}

// expandRepository chooses among the tags of a repository.
func (s *dirRun) expandRepository(ctx context.Context, e *catalog.Entry, l *listing) error {
	if l.err != nil {
		return l.err
	}
	matched := map[string]bool{}
	for _, tag := range l.tags {
		matched[tag] = e.Matches(tag)
	}
	skip := func(tag string) (bool, error) {
		if !spec.MayBeChildTag(tag, matched) {
			return false, nil
		}
		return s.isChild(ctx, e, tag, matched)
	}
	if err := s.lookAhead(ctx, e, l.tags, matched); err != nil {
		return err
	}
	tags, err := e.Choose(l.tags, skip)
	if err != nil {
		return err
	}
	if len(tags) == 0 {
		return &transport.NotFoundError{Ref: e.Reference.String(), What: "any tag that the patterns take", Have: l.tags}
	}
	for _, tag := range tags {
		ref := e.Reference
		ref.Tag = tag
		if err := s.add(e, ref, "", ocispec.Descriptor{}); err != nil {
			return err
		}
	}
	return nil
}

// lookAhead resolves, many at once, the tags that others may be children of,
// where all that match are wanted anyway.
func (s *dirRun) lookAhead(ctx context.Context, e *catalog.Entry, tags []string, matched map[string]bool) error {
	if e.Newest > 0 {
		return nil
	}
	var list []asking
	for _, tag := range tags {
		if matched[tag] && !spec.MayBeChildTag(tag, matched) {
			ref := e.Reference
			ref.Tag = tag
			list = append(list, asking{s.answerTo(e, ref), e, ref})
		}
	}
	return s.askAll(ctx, list)
}

// isChild tells whether a tag belongs to an index that the patterns take as
// well: by what is remembered, if the index did not move, else by its manifest.
func (s *dirRun) isChild(ctx context.Context, e *catalog.Entry, tag string, matched map[string]bool) (bool, error) {
	repo := e.Reference.String()
	known := s.state.Children[repo][tag]
	now := s.opts.Now().UTC()
	if matched[known.Index] && now.Sub(known.Checked).Abs() < childRecheck {
		if index, err := s.names(ctx, e, known.Index); err == nil && index.top.Digest.String() == known.IndexDigest {
			return true, nil
		}
	}
	a, err := s.names(ctx, e, tag)
	var gone *transport.NotFoundError
	if errors.As(err, &gone) {
		return false, nil // its trees are not to count as having left
	}
	if err != nil {
		return false, err
	}
	if known.Digest != a.top.Digest.String() {
		known = childState{Digest: a.top.Digest.String()}
		if known.Index, err = extract.IndexTag(ctx, a.src, a.top, tag); err != nil {
			return false, err
		}
	}
	known.Checked = now
	if matched[known.Index] {
		// Where the index cannot be asked, the tag is a child nevertheless.
		index, _ := s.names(ctx, e, known.Index)
		known.IndexDigest = index.top.Digest.String()
	}
	if s.state.Children[repo] == nil {
		s.state.Children[repo] = map[string]childState{}
	}
	s.state.Children[repo][tag] = known
	return matched[known.Index], nil
}

// names asks what a tag of an entry's repository names.
func (s *dirRun) names(ctx context.Context, e *catalog.Entry, tag string) (*answer, error) {
	ref := e.Reference
	ref.Tag = tag
	a := s.answerTo(e, ref)
	return a, s.ask(ctx, a, e, ref)
}

// expandIndex takes the releases of a catalog index. While that did not move,
// one question answers for all of them.
func (s *dirRun) expandIndex(ctx context.Context, e *catalog.Entry) error {
	a := s.answerTo(e, e.Reference)
	if err := s.ask(ctx, a, e, e.Reference); err != nil {
		return err
	}
	key := e.Reference.String()
	state := s.state.Indexes[key]
	if state.Digest != a.top.Digest.String() {
		releases, err := readReleases(ctx, a.src, a.top)
		if err != nil {
			return err
		}
		state = indexState{a.top.Digest.String(), releases}
		s.state.Indexes[key] = state
	}
	var names []string
	for name := range state.Releases {
		names = append(names, name)
	}
	slices.Sort(names)
	chosen, err := e.Choose(names, func(string) (bool, error) { return false, nil })
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		return &transport.NotFoundError{Ref: key, What: "any release that the patterns take", Have: names}
	}
	for _, name := range chosen {
		d := state.Releases[name]
		top := ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest), Size: d.Size}
		if err := s.add(e, e.Reference, name, top); err != nil {
			return err
		}
	}
	return nil
}

// readReleases reads a catalog index: its entries are indexes or manifests, one
// for each release, named by org.opencontainers.image.ref.name, else by the
// os.version of their platform. Entries without a name are not for us.
func readReleases(ctx context.Context, src transport.Source, top ocispec.Descriptor) (map[string]releaseDesc, error) {
	if !spec.IsIndex(top.MediaType) {
		return nil, spec.Refuse(spec.RuleMediaType, "", "the catalog %s is of media type %q, which is no index", top.Digest, top.MediaType)
	}
	body, mediaType, err := src.Manifest(ctx, top)
	if err != nil {
		return nil, err
	}
	index, err := spec.ParseIndex(mediaType, body)
	if err != nil {
		return nil, fmt.Errorf("catalog index %s: %w", top.Digest, err)
	}
	releases := map[string]releaseDesc{}
	for _, d := range index.Manifests {
		name := d.Annotations[ocispec.AnnotationRefName]
		if p, ok := spec.PlatformOf(d.Platform); ok && name == "" {
			name = p.OSVersion
		}
		if name == "" || d.ArtifactType == spec.TombstoneType || !spec.IsIndex(d.MediaType) && !spec.IsManifest(d.MediaType) {
			continue
		}
		if len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return nil, spec.Refuse(spec.RuleMediaType, "", "catalog index %s has a release with the name %q", top.Digest, name)
		}
		if other, twice := releases[name]; twice && other.Digest != d.Digest.String() {
			return nil, spec.Refuse(spec.RuleMediaType, "", "catalog index %s names release %q twice, as %s and as %s",
				top.Digest, name, other.Digest, d.Digest)
		}
		releases[name] = describeRelease(d)
	}
	return releases, nil
}
