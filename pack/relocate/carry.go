package relocate

import (
	"context"
	"fmt"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifests bounds the manifests of one image, as Repository.Copy does.
const maxManifests = 1 << 14

// carrier brings one image, and what is attached to it, into a repository.
type carrier struct {
	r    *runner
	job  *job
	src  transport.AttachmentSource
	repo *transport.Repository // to write to
	path string                // of repo, without the host

	seen map[digest.Digest]bool // manifests whose attachments were looked for
}

// node is a manifest or index that is in the destination.
type node struct {
	desc    ocispec.Descriptor
	subject digest.Digest // that it refers to; may be empty
}

// image copies the image of the job. Its tag is written when everything else is
// there.
func (c *carrier) image(ctx context.Context) error {
	d, err := c.src.Resolve(ctx)
	if err != nil {
		return err
	}
	c.job.digest = d.Digest
	if want := c.job.want; want != "" && d.Digest != want {
		return spec.Refuse(spec.RuleDigest, c.job.from.String(), "it is %s, not %s", d.Digest, want)
	}
	name := c.job.to.Tag
	if name == "" {
		name = d.Digest.String()
	}
	at, there, err := c.repo.Head(ctx, name)
	if err != nil {
		return err
	}
	same := there && at.Digest == d.Digest
	var nodes []node
	var top []byte
	if same && !c.r.o.Recheck {
		// Whoever has no tag was not listed as a referrer last of all.
		w := &walker{src: c.src, leaves: c.job.to.Tag == "", seen: map[digest.Digest]bool{}}
		err = w.walk(ctx, d, 0)
		nodes = w.nodes
	} else {
		nodes, top, err = c.copy(ctx, d)
	}
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := c.list(ctx, n); err != nil {
			return err
		}
		if err := c.attachments(ctx, n.desc.Digest, 0); err != nil {
			return err
		}
	}
	if same {
		return nil
	}
	return c.tag(ctx, c.job.to.Tag, nodes[len(nodes)-1].desc, top)
}

// tag gives a manifest that was copied its tag, if it has one.
func (c *carrier) tag(ctx context.Context, tag string, d ocispec.Descriptor, body []byte) error {
	c.job.changed = true
	if tag == "" {
		return nil
	}
	_, err := c.repo.Put(ctx, tag, d.MediaType, body, transport.PutOptions{})
	return err
}

// copy brings a manifest or index and everything below it. The last of the nodes is
// the manifest itself, whose bytes follow.
func (c *carrier) copy(ctx context.Context, d ocispec.Descriptor) (nodes []node, body []byte, err error) {
	err = c.repo.CopyWith(ctx, c.src, d, transport.CopyOptions{
		MountFrom: c.r.mountFrom(c.path),
		Manifest: func(d ocispec.Descriptor, b []byte) {
			c.r.note(c.path, d.MediaType, b)
			nodes, body = append(nodes, node{d, subjectOf(d.MediaType, b)}), b
		},
	})
	return nodes, body, err
}

// walker lists what an image that the destination has is made of.
type walker struct {
	src    transport.Source
	leaves bool // read them, too
	seen   map[digest.Digest]bool
	nodes  []node
}

func (w *walker) walk(ctx context.Context, d ocispec.Descriptor, depth int) error {
	if w.seen[d.Digest] {
		return nil
	}
	if w.seen[d.Digest] = true; depth > spec.MaxIndexDepth || len(w.seen) > maxManifests {
		return spec.Refuse(spec.RuleIndexDepth, d.Digest.String(), "more than %d nested indexes, or more than %d manifests", spec.MaxIndexDepth, maxManifests)
	}
	if spec.IsManifest(d.MediaType) && !w.leaves {
		w.nodes = append(w.nodes, node{desc: d})
		return nil
	}
	body, mediaType, err := w.src.Manifest(ctx, d)
	if err != nil {
		return err
	}
	n := node{desc: ocispec.Descriptor{MediaType: mediaType, Digest: d.Digest, Size: int64(len(body))}}
	if w.leaves {
		n.subject = subjectOf(mediaType, body)
	}
	if spec.IsIndex(mediaType) {
		index, err := spec.ParseIndex(mediaType, body)
		if err != nil {
			return err
		}
		for _, child := range index.Manifests {
			if err := w.walk(ctx, child, depth+1); err != nil {
				return err
			}
		}
	}
	w.nodes = append(w.nodes, n)
	return nil
}

// subjectOf gives what a manifest refers to, "" if it does not, or cannot be read.
func subjectOf(mediaType string, body []byte) digest.Digest {
	var subject *ocispec.Descriptor
	if spec.IsIndex(mediaType) {
		if x, err := spec.ParseIndex(mediaType, body); err == nil {
			subject = x.Subject
		}
	} else if m, err := spec.ParseManifest(mediaType, body); err == nil {
		subject = m.Subject
	}
	if subject == nil {
		return ""
	}
	return subject.Digest
}

// list makes that a manifest is found by what it refers to, for registries do not
// all see to that themselves.
func (c *carrier) list(ctx context.Context, n node) error {
	if n.subject == "" {
		return nil
	}
	defer c.r.lock(c.path, n.subject)()
	if err := c.repo.PutReferrer(ctx, c.src, n.desc); err != nil {
		return fmt.Errorf("list what refers to %s: %w", n.subject, err)
	}
	return nil
}
