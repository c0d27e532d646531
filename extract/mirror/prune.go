package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// sweep is the second half of a run: what is named is marked, the rest goes when
// its grace time is over.
type sweep struct {
	*run
	now       time.Time
	needed    map[string]bool        // paths
	reached   map[digest.Digest]bool // manifests, whatever the repository
	named     map[string]bool        // items, as they write themselves
	unneeded  map[string]time.Time   // the new state
	left, all int                    // tags
	gone      goners
}

// goners are the paths that go, in the order in which they do; those of trees are below
// the boot directory.
type goners struct{ tags, boot, trees, manifests, referrers, blobs []string }

// prune removes what no item names. An item that failed is named all the same,
// and what its tag led to stays.
func (r *run) prune(ctx context.Context, items []item) error {
	if !r.opts.Prune || r.here == nil {
		return nil
	}
	if r.unlisted {
		r.opts.Warn("not all patterns have found images, so nothing is removed")
		return nil
	}
	s := &sweep{
		run: r, now: r.opts.Now().UTC(), needed: map[string]bool{}, reached: map[digest.Digest]bool{},
		named: map[string]bool{}, unneeded: map[string]time.Time{},
	}
	for _, it := range items {
		s.named[it.String()] = true
	}
	names, err := r.tree.repositories()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.repository(ctx, name, items); err != nil {
			return err
		}
	}
	if err := errors.Join(s.bootTrees(), s.blobs()); err != nil {
		return err
	}
	// The times count from now on, whether something may be removed or not.
	r.state.Unneeded = s.unneeded
	if !r.opts.DryRun {
		if err := r.tree.writeState(r.state); err != nil {
			return err
		}
	}
	if s.left*100 > s.all*r.opts.Share && !r.opts.Force {
		return &retentionError{s.left, s.all, r.opts.Share}
	}
	return s.remove(ctx, names)
}

// repository marks what the items need of a repository, and finds the rest.
func (s *sweep) repository(ctx context.Context, name string, items []item) error {
	tags, err := s.tree.tagsOf(name)
	if err != nil {
		return err
	}
	m := &marker{sweep: s, name: name, companions: map[string][]string{}, seen: map[digest.Digest]bool{}, keep: map[string]bool{}}
	for _, tag := range tags {
		if list, suffix, ok := transport.AttachedTo(tag); ok && suffix != "" {
			m.companions[list] = append(m.companions[list], tag)
		}
	}
	for _, it := range items {
		d := it.ref.Digest
		if it.tag != "" {
			d = s.tree.names(name, it.tag)
		}
		if it.name == name && d != "" {
			if err := m.mark(ctx, d, false); err != nil {
				return err
			}
		}
	}
	for _, tag := range tags {
		id := name + ":" + tag
		companion := transport.IsAttachment(tag)
		if !companion {
			s.all++
		}
		if s.named[id] || m.keep[tag] {
			continue
		}
		since := s.note("tag " + id)
		if !companion {
			s.left++
			s.report.Leaving = append(s.report.Leaving, Leaving{name, tag, since})
		}
		if s.due(since) {
			s.gone.tags = append(s.gone.tags, mirrortree.Tag(name, tag))
		}
	}
	s.gone.manifests, err = s.unmarked(mirrortree.Manifests(name), s.gone.manifests)
	if err == nil {
		s.gone.referrers, err = s.unmarked(mirrortree.ReferrersDir(name), s.gone.referrers)
	}
	return err
}

// note remembers since when something is not needed.
func (s *sweep) note(what string) time.Time {
	since, ok := s.state.Unneeded[what]
	if !ok || since.After(s.now) { // a time to come was noted under a clock that was wrong
		since = s.now
	}
	s.unneeded[what] = since
	return since
}

func (s *sweep) due(since time.Time) bool { return s.now.Sub(since) >= s.opts.Grace }

// unmarked adds to gone what of a directory is not needed and due.
func (s *sweep) unmarked(dir string, gone []string) ([]string, error) {
	list, err := s.tree.list(dir)
	if err != nil {
		return nil, fmt.Errorf("look for what is not needed: %w", err)
	}
	for _, e := range list {
		p := path.Join(dir, e.Name())
		if !s.needed[p] && digestName(e.Name()) && s.due(s.note(p)) {
			gone = append(gone, p)
		}
	}
	return gone, nil
}

// digestName tells whether a name is a digest, or the hexadecimal part of one:
// nothing else is removed.
func digestName(name string) bool {
	if !strings.Contains(name, ":") {
		name = map[int]string{64: "sha256:", 128: "sha512:"}[len(name)] + name
	}
	_, err := spec.ParseDigest(name)
	return err == nil
}

// blobs finds those that no manifest has which is reached.
func (s *sweep) blobs() error {
	algorithms, err := s.tree.list(mirrortree.Blobs)
	for _, a := range algorithms {
		if err == nil && a.IsDir() {
			s.gone.blobs, err = s.unmarked(path.Join(mirrortree.Blobs, a.Name()), s.gone.blobs)
		}
	}
	return err
}

// marker follows what a repository names.
type marker struct {
	*sweep
	name       string
	companions map[string][]string // by transport.AttachmentTag of what they are attached to
	seen       map[digest.Digest]bool
	keep       map[string]bool // tags that follow a manifest which is needed
}

// mark marks a manifest, what it names, and what is attached to it. Entries of
// indexes for other platforms are not needed.
func (m *marker) mark(ctx context.Context, d digest.Digest, attached bool) error {
	if m.seen[d] {
		return nil
	}
	m.seen[d] = true
	dir := mirrortree.ManifestDir(m.name, d)
	if _, err := m.tree.lstat(dir); err != nil {
		return nil // of a platform that was never brought
	}
	m.needed[dir], m.reached[d], m.needed[mirrortree.Blob(d)] = true, true, true
	body, mt, err := m.here.Manifest(ctx, ocispec.Descriptor{Digest: d, Size: -1})
	if err != nil {
		// Nobody knows what it names, so nobody knows what is not needed.
		return fmt.Errorf("look for what is not needed: %w", err)
	}
	if spec.IsIndex(mt) {
		err = m.children(ctx, mt, body, attached)
	} else {
		err = m.parts(mt, body)
	}
	if err != nil {
		return err
	}
	return m.attachments(ctx, d)
}

func (m *marker) children(ctx context.Context, mt string, body []byte, attached bool) error {
	index, err := spec.ParseIndex(mt, body)
	if err != nil {
		return err
	}
	for i := range index.Manifests {
		child := &index.Manifests[i]
		if !attached && !m.wants(child) {
			continue
		}
		if err := m.mark(ctx, child.Digest, attached); err != nil {
			return err
		}
	}
	return nil
}

func (m *marker) parts(mt string, body []byte) error {
	image, err := spec.ParseManifest(mt, body)
	if err != nil {
		return err
	}
	for _, d := range append([]ocispec.Descriptor{image.Config}, image.Layers...) {
		m.needed[mirrortree.Blob(d.Digest)] = true
	}
	return nil
}

func (m *marker) attachments(ctx context.Context, d digest.Digest) error {
	list := mirrortree.Referrers(m.name, d)
	if _, err := m.tree.lstat(list); err == nil {
		m.needed[list] = true
		var index ocispec.Index
		body, err := m.tree.read(list)
		if err == nil {
			err = json.Unmarshal(body, &index)
		}
		if err != nil {
			return fmt.Errorf("look for what is not needed: %w", err)
		}
		for _, r := range index.Manifests {
			if err := m.mark(ctx, r.Digest, true); err != nil {
				return err
			}
		}
	}
	for _, tag := range m.companions[transport.AttachmentTag(d, "")] {
		m.keep[tag] = true
		if err := m.mark(ctx, m.tree.names(m.name, tag), true); err != nil {
			return err
		}
	}
	return nil
}
