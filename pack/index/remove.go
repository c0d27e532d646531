package index

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// RemoveOptions say which entry Remove takes out. All that is given has to hold.
type RemoveOptions struct {
	Options
	// Platform of the entry. One without os.version stands for all of them.
	Platform spec.Platform
	// Digest of the manifest that the entry names.
	Digest digest.Digest
	// ArtifactType of the entry; nil for any, empty for none.
	ArtifactType *string
	// Annotations of the entry; an empty value means that it has none.
	Annotations map[string]string
}

// Remove takes exactly one entry out of an index. What the entry names stays in
// the repository. A tombstone under the child tag of the entry comes first: a
// writer that has read the index before and writes it afterwards looks at the
// child tags again, and does not bring the entry back.
func Remove(ctx context.Context, repo Repository, tag string, o RemoveOptions) (*Result, error) {
	if o.Platform == (spec.Platform{}) && o.Digest == "" {
		return nil, badUse("say it with --platform or --digest", "which entry shall be removed?")
	}
	r := newRun(repo, tag, o.Options)
	unlock, err := repo.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if s.raw == nil {
		return nil, &missingError{fmt.Sprintf("there is no index %q", tag)}
	}
	entry, err := selectOne(s, &o)
	if err != nil {
		return nil, err
	}
	if err := r.bury(ctx, s, entry); err != nil {
		return nil, err
	}
	return r.settle(ctx)
}

// selectOne finds the one entry that the options describe.
func selectOne(s *snapshot, o *RemoveOptions) (ocispec.Descriptor, error) {
	var all, found []ocispec.Descriptor
	for i := range s.doc.Len() {
		d, _ := s.doc.Entry(i)
		all = append(all, d)
		if o.matches(d) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return ocispec.Descriptor{}, noEntry("no such entry", all)
	}
	return ocispec.Descriptor{}, badUse("say which one with --digest, --artifact-type or --annotation",
		"%d entries are like that: %s", len(found), list(found))
}

func (o *RemoveOptions) matches(d ocispec.Descriptor) bool {
	if o.Platform != (spec.Platform{}) && len(spec.Select(o.Platform, []spec.Platform{platformOf(d.Platform)})) == 0 {
		return false
	}
	if o.Digest != "" && d.Digest != o.Digest || o.ArtifactType != nil && d.ArtifactType != *o.ArtifactType {
		return false
	}
	for k, v := range o.Annotations {
		if d.Annotations[k] != v {
			return false
		}
	}
	return true
}

// bury writes the tombstone of an entry and notes that this run removes it. The
// tombstone stands under the child tag of the entry, where it has one; a newer
// child of the same identity, that has not come into the index yet, goes with it.
func (r *run) bury(ctx context.Context, s *snapshot, entry ocispec.Descriptor) error {
	r.removal = []ocispec.Descriptor{entry}
	// A foreign entry is known by all of its annotations.
	keys := cleanKeys(slices.Collect(maps.Keys(entry.Annotations)))
	for _, k := range s.kids {
		if !k.tomb && identityOf(r.tag, entry, k.keys) == identityOf(r.tag, k.entry, k.keys) {
			keys = k.keys
			if keyOf(k.entry) != keyOf(entry) {
				r.removal = append(r.removal, k.entry)
			}
		}
	}
	tag, err := childTag(r.tag, entry, keys)
	r.buried = tag
	if err != nil || r.o.DryRun {
		return err
	}
	raw, err := tombstone(r.tag, entry, keys, r.removal)
	if err != nil {
		return err
	}
	t := newTombSource(raw)
	if err := r.repo.Copy(ctx, t, t.desc); err != nil {
		return err
	}
	tags := []string{tag}
	if short := shortTag(r.tag, entry); short != tag && slices.ContainsFunc(r.removal, r.named(ctx, short)) {
		tags = append(tags, short) // nobody shall pull by it what was removed
	}
	for _, tag := range tags {
		if err := r.tagMember(ctx, &member{wish: wish{tag: tag}, mediaType: t.desc.MediaType, body: raw}); err != nil {
			return err
		}
	}
	return nil
}

// named tells whether an entry names what the tag does. A tag that cannot be read
// names nothing.
func (r *run) named(ctx context.Context, tag string) func(ocispec.Descriptor) bool {
	d, _, err := r.repo.Get(ctx, tag)
	return func(e ocispec.Descriptor) bool { return err == nil && e.Digest == d.Digest }
}
