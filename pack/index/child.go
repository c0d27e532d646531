package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// parallelReads is how many child tags are read at once.
const parallelReads = 8

// child is what a child tag holds: the entry that the index shall have, or a
// tombstone. There are two ways to say an entry: a manifest that names its index
// and its platform itself, as nbpack builds them, or, for content of others that
// must keep its bytes, an index of this one entry, which runtimes can pull too.
type child struct {
	tag     string
	digest  digest.Digest        // what the tag names
	keys    []string             // annotations of the entry that count
	entry   ocispec.Descriptor   // unless it is a tombstone
	removed []ocispec.Descriptor // of a tombstone
	tomb    bool
}

// parseChild reads the manifest or index under a tag as a child of the index.
// It is nil for everything that is no child, most of all for what others keep
// under a tag that only begins alike. A child that is damaged is a refusal.
func parseChild(index string, d ocispec.Descriptor, body []byte) (*child, error) {
	if spec.IsIndex(d.MediaType) {
		return parseChildIndex(index, d, body)
	}
	m, err := spec.ParseManifest(d.MediaType, body)
	if err != nil || m.Annotations[spec.AnnotationIndexTag] != index {
		return nil, err
	}
	c := &child{digest: d.Digest, keys: parseKeys(m.Annotations[spec.AnnotationIndexIdentity])}
	if m.ArtifactType == spec.TombstoneType {
		c.tomb = true
		c.removed, err = parseRemoved(m.Annotations[spec.AnnotationIndexRemoved])
		return c, err
	}
	c.entry, err = EntryOf(d, m)
	return c, err
}

func parseChildIndex(index string, d ocispec.Descriptor, body []byte) (*child, error) {
	x, err := spec.ParseIndex(d.MediaType, body)
	if err != nil || x.Annotations[spec.AnnotationIndexTag] != index {
		return nil, err
	}
	if len(x.Manifests) != 1 {
		return nil, spec.Refuse(spec.RuleDocument, "", "a child of an index is one entry, and this has %d", len(x.Manifests))
	}
	return &child{digest: d.Digest, keys: parseKeys(x.Annotations[spec.AnnotationIndexIdentity]), entry: x.Manifests[0]}, nil
}

func parseRemoved(text string) ([]ocispec.Descriptor, error) {
	if text == "" {
		return nil, nil
	}
	var removed []ocispec.Descriptor
	if err := spec.UnmarshalStrict([]byte(text), &removed); err != nil {
		return nil, fmt.Errorf("parse the entries of a tombstone: %w", err)
	}
	return removed, nil
}

// childIndex makes the document of a child that must keep its own bytes.
func childIndex(index string, entry ocispec.Descriptor, keys []string) ([]byte, error) {
	notes := childAnnotations(index, entry, keys)
	if v := entry.Annotations[spec.LabelVersion]; v != "" {
		notes[spec.LabelVersion] = v
	}
	doc, err := ociindex.New(notes).Insert(0, entry)
	if err != nil {
		return nil, fmt.Errorf("make the child of index %q: %w", index, err)
	}
	return doc.Bytes(), nil
}

// childAnnotations are those by which a child is known.
func childAnnotations(index string, entry ocispec.Descriptor, keys []string) map[string]string {
	notes := map[string]string{spec.AnnotationIndexTag: index}
	if p := platformString(entry.Platform); p != "" {
		notes[spec.AnnotationIndexPlatform] = p
	}
	if !slices.Equal(keys, defaultKeys()) {
		notes[spec.AnnotationIndexIdentity] = strings.Join(keys, ",")
	}
	return notes
}

// children reads all child tags of an index. What was read before is known by
// its digest.
type children struct {
	repo  Repository
	index string
	log   func(format string, a ...any)
	known map[digest.Digest]*child // nil: no child
}

// read gives the children in the order of their tags. A tag that cannot be
// understood is passed over: it is not ours, or somebody damaged it, and that
// must not keep others from their work. A tag that cannot be read is an error.
func (c *children) read(ctx context.Context) ([]child, error) {
	tags, err := c.repo.Tags(ctx)
	if err != nil {
		return nil, err
	}
	tags = slices.DeleteFunc(slices.Clone(tags), func(t string) bool { return !strings.HasPrefix(t, c.index+"-") })
	type answer struct {
		desc ocispec.Descriptor
		body []byte
		err  error
	}
	answers := make([]answer, len(tags))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for i, tag := range tags {
		g.Go(func() error {
			a := &answers[i]
			a.desc, a.body, a.err = c.repo.Get(gctx, tag)
			if skippable(a.err) {
				return nil
			}
			return a.err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("read the children of index %q: %w", c.index, err)
	}
	var found []child
	for i, a := range answers {
		if a.err != nil {
			c.log("tag %q is passed over: %v", tags[i], a.err)
			continue
		}
		if one := c.parse(tags[i], a.desc, a.body); one != nil {
			found = append(found, *one)
		}
	}
	return found, nil
}

// skippable tells whether an error is about this tag alone: it is gone, or its
// content is not what it should be.
func skippable(err error) bool {
	var gone *transport.NotFoundError
	var bad *spec.Refusal
	return errors.As(err, &gone) || errors.As(err, &bad)
}

// parse gives the child under a tag, if it is one and this is its tag. A child
// with another tag is a copy, or a name that people like better.
func (c *children) parse(tag string, d ocispec.Descriptor, body []byte) *child {
	one, ok := c.known[d.Digest]
	if !ok {
		var err error
		if one, err = parseChild(c.index, d, body); err != nil {
			c.log("tag %q is passed over: %v", tag, err)
			one = nil
		}
		c.known[d.Digest] = one
	}
	if one == nil {
		return nil
	}
	if !one.tomb {
		if own, err := childTag(c.index, one.entry, one.keys); err != nil || own != tag {
			return nil
		}
	}
	found := *one
	found.tag = tag
	return &found
}

// encode writes JSON on one line, nothing escaped for web pages.
func encode(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}
