package index

import (
	"context"
	"errors"

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

	desc ocispec.Descriptor
}

// Descriptor gives the entry as the index has it.
func (l *Entry) Descriptor() ocispec.Descriptor { return l.desc }

// Netboot tells whether the entry names a boot set.
func (l *Entry) Netboot() bool { return l.Kind == KindNetboot || l.Kind == KindNetbootArtifact }

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
	d, body, err := repo.Get(ctx, tag)
	if err != nil {
		return nil, err
	}
	if !spec.IsIndex(d.MediaType) {
		return nil, badUse("nbpack inspect shows it", "tag %q names a single image and no index", tag)
	}
	r := newRun(repo, tag, o)
	kids, err := r.kids.read(ctx)
	if err != nil {
		return nil, err
	}
	l, err := Inspect(ctx, repoReader{repo}, d, body)
	if err != nil {
		return nil, err
	}
	for i := range l.Entries {
		for _, k := range kids {
			if e := &l.Entries[i]; !k.tomb && keyOf(k.entry) == keyOf(e.desc) {
				e.Tag = k.tag
			}
		}
	}
	return l, nil
}

// Inspect lists the index that d describes and body is, with what its entries
// name, as far as src has it.
func Inspect(ctx context.Context, src reader, d ocispec.Descriptor, body []byte) (*Listing, error) {
	doc, err := ociindex.Parse(body)
	if err != nil {
		return nil, err
	}
	l := &Listing{Digest: d.Digest, MediaType: d.MediaType, Size: d.Size, Annotations: doc.Index().Annotations, Entries: make([]Entry, doc.Len())}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelReads)
	for i := range l.Entries {
		e, _ := doc.Entry(i)
		l.Entries[i] = listEntry(e)
		g.Go(func() error { return l.Entries[i].look(gctx, src) })
	}
	return l, g.Wait()
}

func listEntry(e ocispec.Descriptor) Entry {
	return Entry{
		Platform: platformString(e.Platform), Kind: KindUnknown, DiskType: e.Annotations[annotationDiskType],
		MediaType: e.MediaType, ArtifactType: e.ArtifactType, Digest: e.Digest, Size: e.Size, ContentSize: -1, Annotations: e.Annotations,
		desc: e,
	}
}

// look reads the manifest of an entry. What is damaged stays of unknown kind.
func (l *Entry) look(ctx context.Context, src reader) error {
	if spec.IsIndex(l.MediaType) {
		l.Kind = KindIndex
		return nil
	}
	c, err := readListed(ctx, src, l.desc)
	var none *transport.NotFoundError
	switch {
	case errors.As(err, &none):
		l.Kind = KindMissing
		return nil
	case skippable(err):
		return nil
	case err != nil:
		return err
	}
	l.Kind = c.kind()
	l.ContentSize = c.manifest.Config.Size
	for _, layer := range c.manifest.Layers {
		l.ContentSize += layer.Size
	}
	return nil
}

func (c *content) kind() Kind {
	switch {
	case c.netboot() && c.form() == spec.FormImage:
		return KindNetboot
	case c.netboot():
		return KindNetbootArtifact
	case c.form() == spec.FormFile, singleTitle(c.manifest) != "":
		return KindFile
	case c.image && c.manifest.ArtifactType == "":
		return KindContainer
	}
	return KindArtifact
}
