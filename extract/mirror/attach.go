package mirror

import (
	"context"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// attachments brings what belongs to a manifest: its referrers, and what lies under
// the tags that cosign makes of its digest. They have attachments of their own, but not without
// end: whoever may write to a registry could go on.
func (j *job) attachments(ctx context.Context, d digest.Digest, depth int) error {
	if depth > spec.MaxIndexDepth {
		return nil
	}
	src, err := transport.Attachments(j.src)
	if err != nil {
		return nil // archives and the storage of podman have none
	}
	found, err := src.Referrers(ctx, d, "")
	if err != nil {
		return err
	}
	var list []ocispec.Descriptor
	for _, r := range found {
		if err := j.manifest(ctx, r, node{depth: depth, attached: true}); err != nil {
			return fmt.Errorf("referrer %s of %s: %w", r.Digest, d, err)
		}
		body, mt, err := j.document(ctx, r)
		if err != nil {
			return err
		}
		entry, err := referrerEntry(d, mt, body)
		if err != nil {
			return fmt.Errorf("referrer %s of %s: %w", r.Digest, d, err)
		}
		if entry != nil {
			entry.Digest = r.Digest
			list = append(list, *entry)
		}
	}
	if err := j.listReferrers(d, list); err != nil {
		return err
	}
	return j.companions(ctx, src, d, depth)
}

// referrerEntry gives what the distribution specification has a list of referrers
// say of a manifest; nil if it does not refer to subject after all.
func referrerEntry(subject digest.Digest, mt string, body []byte) (*ocispec.Descriptor, error) {
	var m struct {
		ArtifactType string              `json:"artifactType"`
		Config       *ocispec.Descriptor `json:"config"`
		Subject      *ocispec.Descriptor `json:"subject"`
		Annotations  map[string]string   `json:"annotations"`
	}
	if err := spec.UnmarshalStrict(body, &m); err != nil {
		return nil, err
	}
	if m.Subject == nil || m.Subject.Digest != subject {
		return nil, nil
	}
	if m.ArtifactType == "" && m.Config != nil {
		m.ArtifactType = m.Config.MediaType
	}
	return &ocispec.Descriptor{MediaType: mt, Size: int64(len(body)), ArtifactType: m.ArtifactType, Annotations: m.Annotations}, nil
}

// listReferrers writes the list, or takes it away where it is empty.
func (j *job) listReferrers(d digest.Digest, list []ocispec.Descriptor) error {
	p := mirrortree.Referrers(j.name, d)
	if len(list) == 0 {
		if _, err := j.tree.lstat(p); err != nil {
			return nil
		}
		j.changed = true
		if j.opts.DryRun {
			return nil
		}
		return j.tree.remove(p)
	}
	b := indexOf(list)
	if j.tree.holds(p, b) {
		return nil
	}
	j.changed = true
	if j.opts.DryRun {
		return nil
	}
	return j.tree.put(p, b, 0o644, &j.dirty)
}

// companions brings what lies under the tags that begin with the digest.
func (j *job) companions(ctx context.Context, src transport.AttachmentSource, d digest.Digest, depth int) error {
	suffixes := []string{"sig", "att", "sbom"}
	if j.ref.Transport == transport.Docker {
		tags, err := j.tags.of(ctx, j.ref)
		if err != nil {
			return err
		}
		suffixes = nil
		for _, tag := range tags {
			if list, s, ok := transport.AttachedTo(tag); ok && s != "" && list == transport.AttachmentTag(d, "") {
				suffixes = append(suffixes, s)
			}
		}
	}
	for _, s := range suffixes {
		found, ok, err := src.Attached(ctx, d, s)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := j.manifest(ctx, found, node{depth: depth, attached: true}); err != nil {
			return fmt.Errorf("%s: %w", transport.AttachmentTag(d, s), err)
		}
		j.tagged = append(j.tagged, tagged{transport.AttachmentTag(d, s), found.Digest})
	}
	return nil
}

// tagLists asks each repository for its tags once in a run.
type tagLists struct {
	client *transport.Client
	mu     sync.Mutex
	lists  map[string]*tagList
}

type tagList struct {
	once sync.Once
	tags []string
	err  error
}

// of gives the tags of a reference's repository. The list is asked for by whoever
// comes first; if his run is interrupted, so are the others.
func (l *tagLists) of(ctx context.Context, ref transport.Reference) ([]string, error) {
	l.mu.Lock()
	if l.lists == nil {
		l.lists = map[string]*tagList{}
	}
	list := l.lists[ref.Name]
	if list == nil {
		list = &tagList{}
		l.lists[ref.Name] = list
	}
	l.mu.Unlock()
	list.once.Do(func() { list.tags, list.err = l.client.Tags(ctx, ref) })
	return list.tags, list.err
}
