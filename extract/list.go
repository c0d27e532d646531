package extract

import (
	"context"
	"errors"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Listing is what a reference holds: the tags of a repository, or the entries
// of an image.
type Listing struct {
	Reference string   `json:"reference"`
	Tags      []string `json:"tags,omitempty"`
	// Children are those of the tags that belong to an index, and its tag.
	Children  map[string]string `json:"children,omitempty"`
	Digest    string            `json:"digest,omitempty"`
	MediaType string            `json:"media_type,omitempty"`
	Images    []PlatformImage   `json:"images,omitempty"`
	Others    []OtherEntry      `json:"others,omitempty"`
}

// PlatformImage is one boot tree of an image.
type PlatformImage struct {
	Platform string            `json:"platform"` // empty where an artifact names none
	Form     spec.Form         `json:"form"`
	Digest   string            `json:"digest"`
	Size     int64             `json:"size"` // bytes of all blobs and the manifest
	Labels   map[string]string `json:"labels"`
	Files    []ListedFile      `json:"files,omitempty"`
}

// ListedFile is a regular file or link of a platform's boot tree.
type ListedFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"` // bytes; 0 for links, -1 where nothing says it
	SHA256 string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"`
}

// OtherEntry is a manifest that is no boot tree.
type OtherEntry struct {
	What         string `json:"what"`               // in a word or two; text from outside is quoted
	Platform     string `json:"platform,omitempty"` // as the index says
	Digest       string `json:"digest"`
	MediaType    string `json:"media_type"`
	ArtifactType string `json:"artifact_type,omitempty"`
	DiskType     string `json:"disktype,omitempty"`
	Size         int64  `json:"size"` // bytes of all blobs and the manifest, or of the manifest alone
}

// ListImage tells of every entry of an image; platforms narrow the boot trees as
// they do for Pull, and leave out the rest. With files it lists what each tree
// holds: from the manifest or the tables of layers where these say it, else it reads
// the layers. Only a pull proves that tables do not lie.
func ListImage(ctx context.Context, c *transport.Client, ref transport.Reference, platforms []string, files bool) (*Listing, error) {
	src, err := c.Source(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	top, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	l := &lister{
		from:  &resolve.Resolver{Source: src, Reference: ref.String()},
		files: files,
		list:  &Listing{Reference: ref.String(), Digest: top.Digest.String(), MediaType: top.MediaType},
	}
	switch {
	case spec.IsManifest(top.MediaType):
		err = l.lone(ctx, top, platforms)
	case len(platforms) > 0:
		err = l.some(ctx, top, platforms)
	default:
		err = l.all(ctx, top)
	}
	return l.list, err
}

// lister gathers a Listing.
type lister struct {
	from  *resolve.Resolver
	files bool
	list  *Listing
}

// lone lists a manifest that no index holds.
func (l *lister) lone(ctx context.Context, top ocispec.Descriptor, platforms []string) error {
	body, mediaType, err := l.from.Document(ctx, top)
	if err != nil {
		return err
	}
	m, err := spec.ParseManifest(mediaType, body)
	if err != nil {
		return err
	}
	use := spec.DiskTypeOf(m, nil)
	if form := spec.FormOf(m, nil); !form.BootTree() || form.NamesFiles() && use != "" && use != spec.DiskTypeNetboot {
		top.MediaType, top.ArtifactType, top.Size = mediaType, m.ArtifactType, int64(len(body))
		top.Annotations = m.Annotations
		l.other(top, m, whatIs(top))
		return nil
	}
	return l.some(ctx, top, platforms)
}

// some lists the boot trees that platforms choose.
func (l *lister) some(ctx context.Context, top ocispec.Descriptor, platforms []string) error {
	targets, err := l.from.Targets(ctx, top, platforms)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if err := l.tree(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// all lists every entry of an index. What cannot be a boot tree is listed with
// what it is, or with the reason.
func (l *lister) all(ctx context.Context, top ocispec.Descriptor) error {
	return l.from.Each(ctx, top, func(d ocispec.Descriptor, t *resolve.Target, err error) error {
		if t == nil && err == nil {
			l.other(d, nil, whatIs(d))
			return nil
		}
		if err == nil {
			err = l.tree(ctx, t)
		}
		var refused *spec.Refusal
		if errors.As(err, &refused) {
			l.other(d, nil, "no boot tree: "+refused.Error())
			return nil
		}
		return err
	})
}

func (l *lister) tree(ctx context.Context, t *resolve.Target) error {
	image := PlatformImage{Platform: t.PlatformName(), Form: t.Form, Digest: t.Descriptor.Digest.String(), Labels: t.Labels}
	image.Size = t.Descriptor.Size + sizeOfBlobs(t.Manifest)
	if l.files {
		var err error
		if image.Files, err = listFiles(ctx, l.from.Source, t); err != nil {
			return err
		}
	}
	l.list.Images = append(l.list.Images, image)
	return nil
}

func (l *lister) other(d ocispec.Descriptor, m *ocispec.Manifest, what string) {
	o := OtherEntry{
		What: what, Digest: d.Digest.String(), MediaType: d.MediaType, ArtifactType: d.ArtifactType,
		DiskType: spec.DiskTypeOf(nil, &d), Size: d.Size,
	}
	if p, ok := spec.PlatformOf(d.Platform); ok {
		o.Platform = p.String()
	}
	if m != nil {
		o.Size += sizeOfBlobs(m)
	}
	l.list.Others = append(l.list.Others, o)
}

func sizeOfBlobs(m *ocispec.Manifest) int64 {
	size := m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	return size
}

// listFiles lists a tree. What neither the manifest nor the tables of layers say it
// reads from the layers.
func listFiles(ctx context.Context, src transport.Source, t *resolve.Target) ([]ListedFile, error) {
	in := newIntake(src, t, layerIndex{}, nowhere{}, nil)
	entries, complete := in.foreseen()
	if !complete {
		if err := in.findSums(ctx); err != nil {
			return nil, err
		}
		if err := in.survey(ctx); err != nil {
			return nil, err
		}
		entries, complete = in.foreseen()
	}
	if !complete {
		if err := in.readRest(ctx); err != nil {
			return nil, err
		}
		var err error
		if entries, err = in.finish(); err != nil {
			return nil, err
		}
	}
	var files []ListedFile
	for _, e := range entries {
		if e.Type != spec.TypeDir {
			files = append(files, ListedFile{e.Path, e.Size, e.SHA256, e.Target})
		}
	}
	return files, nil
}
