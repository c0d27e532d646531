package extract

import (
	"context"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Listing is what a reference holds: the tags of a repository, or the
// platforms of an image.
type Listing struct {
	Reference string          `json:"reference"`
	Tags      []string        `json:"tags,omitempty"`
	Digest    string          `json:"digest,omitempty"`
	MediaType string          `json:"media_type,omitempty"`
	Images    []PlatformImage `json:"images,omitempty"`
}

// PlatformImage is one platform of an image.
type PlatformImage struct {
	Platform string            `json:"platform"`
	Digest   string            `json:"digest"`
	Size     int64             `json:"size"` // bytes of all blobs and the manifest
	Labels   map[string]string `json:"labels"`
	Files    []ListedFile      `json:"files,omitempty"`
}

// ListedFile is a regular file or link of a platform's boot tree.
type ListedFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"` // bytes; 0 for links
	SHA256 string `json:"sha256,omitempty"`
	Target string `json:"target,omitempty"`
}

// ListTags lists the tags of a repository, or the names in a layout.
func ListTags(ctx context.Context, c *transport.Client, ref transport.Reference) (*Listing, error) {
	tags, err := c.Tags(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &Listing{Reference: ref.String(), Tags: tags}, nil
}

// ListImage tells of every platform of an image; platforms narrow it as they
// do for Pull. With files it reads the layers, proving them as a pull does,
// and lists what they hold.
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
	if len(platforms) == 0 {
		platforms = []string{"all"}
	}
	targets, err := (&resolver{src: src, mem: noMemory{}, ref: ref.String()}).resolve(ctx, top, platforms)
	if err != nil {
		return nil, err
	}
	list := &Listing{Reference: ref.String(), Digest: top.Digest.String(), MediaType: top.MediaType}
	for i := range targets {
		image := describe(&targets[i])
		if files {
			if image.Files, err = listFiles(ctx, src, &targets[i]); err != nil {
				return nil, err
			}
		}
		list.Images = append(list.Images, image)
	}
	return list, nil
}

func describe(t *target) PlatformImage {
	image := PlatformImage{Platform: t.platform.String(), Digest: t.desc.Digest.String(), Labels: t.labels}
	image.Size = t.desc.Size + t.manifest.Config.Size
	for _, l := range t.manifest.Layers {
		image.Size += l.Size
	}
	return image
}

func listFiles(ctx context.Context, src transport.Source, t *target) ([]ListedFile, error) {
	in := newIntake(src, t, nil, nowhere{}, nil)
	if err := in.readRest(ctx); err != nil {
		return nil, err
	}
	entries, err := in.finish()
	if err != nil {
		return nil, err
	}
	var files []ListedFile
	for _, e := range entries {
		if e.Type != spec.TypeDir {
			files = append(files, ListedFile{e.Path, e.Size, e.SHA256, e.Target})
		}
	}
	return files, nil
}
