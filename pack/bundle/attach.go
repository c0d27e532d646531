package bundle

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// attachments brings what is attached to a manifest: what refers to it, and the
// images under its companion tags. Each place that has the manifest is asked once:
// were only one of them, it would be another one in the next run.
func (v *visit) attachments(ctx context.Context, d digest.Digest, far int) error {
	repository := v.im.ref.Name
	if !v.c.first(v.im.from, repository, d) {
		return nil
	}
	if err := v.referrers(ctx, repository, d, far); err != nil {
		return err
	}
	suffixes, err := v.suffixes(ctx, d)
	if err != nil {
		return err
	}
	for _, suffix := range suffixes {
		found, ok, err := v.src.Attached(ctx, d, suffix)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if found, err = v.attachment(ctx, found, d, far); err != nil {
			return err
		}
		if err := v.c.attach(repository+":"+transport.AttachmentTag(d, suffix), found, v.im.origin()); err != nil {
			return err
		}
	}
	return nil
}

// first tells whether nobody looked for the attachments of a manifest in this place
// yet: a bundle, or with nil the registry.
func (c *collector) first(place *transport.Bundle, repository string, d digest.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := subjectKey(repository, d)
	if c.visited[key] == nil {
		c.visited[key] = map[*transport.Bundle]bool{}
	}
	was := c.visited[key][place]
	c.visited[key][place] = true
	return !was
}

// subjectKey names a manifest of a repository as what is attached to it does.
func subjectKey(repository string, d digest.Digest) string {
	return repository + ":" + transport.AttachmentTag(d, "")
}

// attach notes what is under a companion tag. As with images, two places must have
// the same there.
func (c *collector) attach(name string, d ocispec.Descriptor, origin string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, twice := c.attached[name]; twice && was.Digest != d.Digest {
		return &problem{fmt.Sprintf("%q is %s in %s and %s in %s", name, was.Digest, c.origins[name], d.Digest, origin),
			"bring in one after the other, with nbpack bundle add: what comes last counts", 2}
	}
	c.attached[name], c.origins[name] = attachedEntry(name, d), origin
	return nil
}

func attachedEntry(name string, d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: d.MediaType, Digest: d.Digest, Size: d.Size,
		Annotations: map[string]string{ocispec.AnnotationRefName: name},
	}
}

// attachment brings one thing that is attached.
func (v *visit) attachment(ctx context.Context, found ocispec.Descriptor, to digest.Digest, far int) (ocispec.Descriptor, error) {
	if far >= maxAttached {
		return found, spec.Refuse(spec.RuleIndexDepth, found.Digest.String(), "attachments of attachments, more than %d deep", maxAttached)
	}
	d, err := v.manifest(ctx, found, nil, 0, far+1)
	if err != nil {
		return d, fmt.Errorf("what is attached to %s: %w", to, err)
	}
	return d, nil
}

// referrers are what refers to one manifest, by digest.
type referrers map[digest.Digest]ocispec.Descriptor

// referrers brings what refers to a manifest.
func (v *visit) referrers(ctx context.Context, repository string, subject digest.Digest, far int) error {
	found, err := v.src.Referrers(ctx, subject, "")
	if err != nil {
		return err
	}
	for _, r := range found {
		entry, ok, err := v.referrer(ctx, subject, r, far)
		if err != nil {
			return err
		}
		if ok {
			v.c.refer(repository+":"+transport.AttachmentTag(subject, ""), entry)
		}
	}
	return nil
}

// refer adds to the list of this name.
func (c *collector) refer(name string, entry ocispec.Descriptor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.referrers[name] == nil {
		c.referrers[name] = referrers{}
	}
	c.referrers[name][entry.Digest] = entry
}

// listReferrers makes an index of what refers to each manifest, as registries do
// that have no other way. It is made from what the manifests say themselves, and from
// what all places know, so it does not depend on who was asked first.
func (c *collector) listReferrers() error {
	for name, list := range c.referrers {
		index := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
		index.SchemaVersion = 2
		for _, d := range slices.Sorted(maps.Keys(list)) {
			index.Manifests = append(index.Manifests, list[d])
		}
		body, err := encode(index)
		if err != nil {
			return err
		}
		d := ocispec.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(body), Size: int64(len(body))}
		if c.target == nil || !c.target.Has(d) {
			if err := c.work.put(d.Digest, body); err != nil {
				return err
			}
		}
		c.attached[name] = attachedEntry(name, d)
	}
	return nil
}

// referrer brings one manifest, and describes it. A list that a registry keeps can
// name what refers to something else: that is passed by.
func (v *visit) referrer(ctx context.Context, subject digest.Digest, r ocispec.Descriptor, far int) (entry ocispec.Descriptor, ok bool, err error) {
	body, mt, err := v.c.document(ctx, v.src, ocispec.Descriptor{MediaType: r.MediaType, Digest: r.Digest, Size: r.Size})
	if isAbsent(err) {
		v.c.opts.logf("%s is listed as a referrer of %s, and is not there", r.Digest, subject)
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	if entry, ok, err = transport.ReferrerOf(subject, mt, body); err != nil || !ok {
		v.c.opts.logf("%s is listed as a referrer of %s, and is none", r.Digest, subject)
		return r, false, nil // what cannot be read refers to nothing
	}
	entry.Digest = r.Digest // in the words of the list, be it of another algorithm
	_, err = v.attachment(ctx, entry, subject, far)
	return entry, true, err
}

// suffixes lists the companion tags of a manifest. One list of tags answers for all
// images of a repository; where there is none, the usual ones are tried.
func (v *visit) suffixes(ctx context.Context, d digest.Digest) ([]string, error) {
	bySubject, err := v.companions(ctx)
	if err != nil {
		return nil, err
	}
	if bySubject == nil {
		return []string{"att", "sbom", "sig"}, nil
	}
	return bySubject[transport.AttachmentTag(d, "")], nil
}

// tagsOf is a repository in one place.
type tagsOf struct {
	from       *transport.Bundle // nil: its registry
	repository string
}

// tagList is what the tags of one repository say of attachments.
type tagList struct {
	once      sync.Once
	bySubject map[string][]string // suffixes, by AttachmentTag; nil: no list could be had
}

func (v *visit) companions(ctx context.Context) (map[string][]string, error) {
	of := tagsOf{v.im.from, v.im.ref.Name}
	v.c.mu.Lock()
	list := v.c.tags[of]
	if list == nil {
		list = &tagList{}
		v.c.tags[of] = list
	}
	v.c.mu.Unlock()
	list.once.Do(func() {
		if of.from != nil {
			list.bySubject = suffixesOf(of.from.Tags(of.repository))
			return
		}
		tags, err := v.c.client.Tags(ctx, v.im.ref)
		if err != nil {
			v.c.opts.logf("%v; the usual tags of attachments are tried", err)
			return
		}
		list.bySubject = suffixesOf(tags)
	})
	return list.bySubject, ctx.Err()
}

func suffixesOf(tags []string) map[string][]string {
	found := map[string][]string{}
	for _, tag := range tags {
		if subject, suffix, ok := transport.AttachedTo(tag); ok && suffix != "" {
			found[subject] = append(found[subject], suffix)
		}
	}
	return found
}
