package relocate

import (
	"context"
	"fmt"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What may be attached to one image: signatures have signatures, and whoever may
// write to a repository could attach without end.
const (
	maxAttachDepth = 4
	maxAttached    = 4096
)

// companions are the endings of the tags ALGORITHM-HEX.SUFFIX under which cosign
// keeps signatures, attestations and lists of contents.
func companions() []string { return []string{"sig", "att", "sbom"} }

// companionsOf are those of one manifest. A bundle knows what it has; others are asked
// for the usual ones.
func (c *carrier) companionsOf(d digest.Digest) []string {
	if bundle, ok := c.src.(interface {
		Suffixes(d digest.Digest) []string
	}); ok {
		return bundle.Suffixes(d)
	}
	return companions()
}

// attachments carries what is attached to a manifest, and what is attached to that.
func (c *carrier) attachments(ctx context.Context, d digest.Digest, depth int) error {
	if c.seen[d] {
		return nil
	}
	if c.seen[d] = true; len(c.seen) > maxAttached || depth > maxAttachDepth {
		return spec.Refuse(spec.RuleIndexDepth, d.String(), "more manifests are attached to it than %d, or more than %d to each other", maxAttached, maxAttachDepth)
	}
	found, err := c.referrers(ctx, d)
	if err != nil {
		return fmt.Errorf("carry what refers to %s: %w", d, err)
	}
	for _, suffix := range c.companionsOf(d) {
		a, there, err := c.src.Attached(ctx, d, suffix)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := c.companion(ctx, fallbackTag(d)+"."+suffix, a); err != nil {
			return err
		}
		found = append(found, a.Digest)
	}
	for _, a := range found {
		if err := c.attachments(ctx, a, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// fallbackTag is the tag of the index of what refers to a manifest, in registries
// without an API for that (distribution specification, "Referrers tag schema").
func fallbackTag(d digest.Digest) string { return transport.AttachmentTag(d, "") }

// companion copies what is under a tag beside the image.
func (c *carrier) companion(ctx context.Context, tag string, d ocispec.Descriptor) error {
	at, there, err := c.repo.Head(ctx, tag)
	if err != nil {
		return err
	}
	if there && at.Digest == d.Digest && !c.r.o.Recheck {
		return nil
	}
	nodes, body, err := c.copy(ctx, d)
	if err != nil {
		return fmt.Errorf("copy %q: %w", tag, err)
	}
	if there && at.Digest == d.Digest {
		return nil
	}
	if there {
		c.r.warn("%q of %q was %s and becomes %s", tag, c.job.to.Name, at.Digest, d.Digest)
	}
	return c.tag(ctx, tag, nodes[len(nodes)-1].desc, body)
}
