package index

import (
	"context"
	"errors"
	"fmt"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Listing is what an index holds. It is the JSON that "nbpack index show"
// prints.
type Listing struct {
	Digest      digest.Digest     `json:"digest"`
	MediaType   string            `json:"mediaType"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Entries     []Entry           `json:"entries"`
}

// Entry is one entry of an index.
type Entry struct {
	Platform     string            `json:"platform,omitempty"` // with os.version, as in linux(fedora-42)/amd64
	Kind         Kind              `json:"kind"`
	DiskType     string            `json:"disktype,omitempty"`
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       digest.Digest     `json:"digest"`
	Size         int64             `json:"size"`        // bytes of the manifest
	ContentSize  int64             `json:"contentSize"` // bytes of config and layers; -1 if unknown
	Tag          string            `json:"tag,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Kind is what an entry names, as its manifest tells.
type Kind string

// The kinds.
const (
	KindContainer       Kind = "container"
	KindNetboot         Kind = "netboot"
	KindNetbootArtifact Kind = "netboot-artifact"
	KindFile            Kind = "file" // an artifact of one file
	KindArtifact        Kind = "artifact"
	KindIndex           Kind = "index"
	KindMissing         Kind = "missing" // not in the repository
	KindUnknown         Kind = "unknown"
)

// Show lists an index with what its entries name, and their child tags.
func Show(ctx context.Context, repo Repository, tag string, o Options) (*Listing, error) {
	r := newRun(repo, tag, o)
	d, body, err := repo.Get(ctx, tag)
	if err != nil {
		return nil, err
	}
	if !spec.IsIndex(d.MediaType) {
		return nil, badUse("nbpack inspect shows it", "tag %q names a single image and no index", tag)
	}
	doc, err := ociindex.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("index %q: %w", tag, err)
	}
	kids, err := r.kids.read(ctx)
	if err != nil {
		return nil, err
	}
	l := &Listing{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size, Annotations: doc.Index().Annotations, Entries: make([]Entry, doc.Len())}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for i := range l.Entries {
		e, _ := doc.Entry(i)
		l.Entries[i] = listEntry(e)
		for _, k := range kids {
			if !k.tomb && keyOf(k.entry) == keyOf(e) {
				l.Entries[i].Tag = k.tag
			}
		}
		g.Go(func() error { return l.Entries[i].look(gctx, repo, e) })
	}
	return l, g.Wait()
}

func listEntry(e ocispec.Descriptor) Entry {
	return Entry{
		Platform: platformString(e.Platform), Kind: KindUnknown, DiskType: e.Annotations[annotationDiskType],
		MediaType: e.MediaType, ArtifactType: e.ArtifactType, Digest: e.Digest, Size: e.Size, ContentSize: -1, Annotations: e.Annotations,
	}
}

// look reads the manifest of an entry.
func (l *Entry) look(ctx context.Context, repo Repository, e ocispec.Descriptor) error {
	d, body, err := repo.Get(ctx, e.Digest.String())
	var none *transport.NotFoundError
	switch {
	case errors.As(err, &none):
		l.Kind = KindMissing
		return nil
	case skippable(err):
		return nil // damaged, and so of unknown kind
	case err != nil:
		return err
	case spec.IsIndex(d.MediaType):
		l.Kind = KindIndex
		return nil
	}
	c, err := readContent(ctx, repo, d, body)
	if skippable(err) {
		return nil
	}
	if err != nil {
		return err
	}
	c.listed = &e
	l.Kind = c.kind()
	l.ContentSize = c.manifest.Config.Size
	for _, layer := range c.manifest.Layers {
		l.ContentSize += layer.Size
	}
	return nil
}

func (c *content) kind() Kind {
	switch {
	case c.netboot() && c.image:
		return KindNetboot
	case c.netboot():
		return KindNetbootArtifact
	case singleTitle(c.manifest) != "":
		return KindFile
	case c.image && c.manifest.ArtifactType == "":
		return KindContainer
	}
	return KindArtifact
}
