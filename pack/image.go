package pack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageForm makes a netboot image: SHA256SUM, the payload as tar layers, and a
// config.
type imageForm struct {
	*job
	layers  []ocispec.Descriptor
	diffIDs []digest.Digest
	entries []spec.Entry
	sums    []spec.Sum
}

// fill implements form.
func (b *imageForm) fill(ctx context.Context) error {
	for i := range b.planned.layers {
		if err := b.payloadLayer(ctx, i+1, &b.planned.layers[i]); err != nil {
			return err
		}
	}
	return nil
}

// finish implements form.
func (b *imageForm) finish(ctx context.Context) (*documents, error) {
	if err := b.sumsLayer(ctx); err != nil {
		return nil, err
	}
	config := b.config()
	desc, err := b.putJSON(ctx, config)
	if err != nil {
		return nil, err
	}
	d := &documents{manifest: b.manifest(desc, b.layers), config: config}
	return d, checkWritten(&spec.Image{
		MediaType: d.manifest.MediaType, Manifest: d.manifest, Config: config,
		Sums: b.sortedSums(), HasSums: true, Entries: b.entries, DiffIDs: b.diffIDs,
	})
}

// modTime is the time of all entries.
func (b *imageForm) modTime() time.Time {
	if b.plan.Created != nil {
		return *b.plan.Created
	}
	return time.Unix(0, 0)
}

// layer writes a layer blob whose tar write fills.
func (b *imageForm) layer(ctx context.Context, c archive.Compression, size int64, write func(*archive.TarWriter) error) (ocispec.Descriptor, digest.Digest, error) {
	var desc ocispec.Descriptor
	var diffID digest.Digest
	stored, err := b.stage.PutBlob(ctx, func(w io.Writer) error {
		l, err := archive.NewLayerWriter(w, c, archive.WithPayloadSize(size), archive.WithoutDigest())
		if err != nil {
			return err
		}
		defer l.Abort()
		t := archive.NewTarWriter(l, b.modTime())
		if err := write(t); err != nil {
			return err
		}
		if err := t.Close(); err != nil {
			return err
		}
		desc, diffID, err = l.Close()
		return err
	})
	if err == nil && stored.Size != desc.Size {
		err = fmt.Errorf("layer %s was stored with %d bytes instead of %d", stored.Digest, stored.Size, desc.Size)
	}
	desc.Digest = stored.Digest
	return desc, diffID, err
}

// payloadLayer writes one planned layer; index counts from the layer of
// SHA256SUM, which is 0.
func (b *imageForm) payloadLayer(ctx context.Context, index int, l *PlanLayer) error {
	desc, diffID, err := b.layer(ctx, b.plan.Compression, l.size(), func(t *archive.TarWriter) error {
		for i := range l.Entries {
			if err := b.entry(ctx, t, index, &l.Entries[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.layers, b.diffIDs = append(b.layers, desc), append(b.diffIDs, diffID)
	return nil
}

// entry writes one entry and notes what was written.
func (b *imageForm) entry(ctx context.Context, t *archive.TarWriter, layer int, e *Entry) error {
	done := spec.Entry{Layer: layer, Path: e.Path, Type: e.Type, Size: e.Size, Target: e.Target, ModTime: b.modTime().Unix()}
	switch e.Type {
	case spec.TypeDir:
		done.Mode = 0o755
		if err := t.Dir(e.Path); err != nil {
			return err
		}
	case spec.TypeSymlink:
		done.Mode = 0o777
		if err := t.Symlink(e.Path, e.Target); err != nil {
			return err
		}
	default:
		done.Mode = 0o444
		sum, err := b.files.read(ctx, e, func(r io.Reader) (string, error) { return t.File(e.Path, e.Size, r) })
		if err != nil {
			return err
		}
		done.SHA256 = sum
		b.sums = append(b.sums, spec.Sum{Path: e.Path, SHA256: sum})
	}
	b.entries = append(b.entries, done)
	return nil
}

// sumsLayer writes the layer that goes before all others. Its codec is one that
// every container tool of the last years can read, whatever the payload's is.
func (b *imageForm) sumsLayer(ctx context.Context) error {
	c := archive.Gzip
	if b.plan.Compression == archive.None {
		c = archive.None
	}
	content := spec.FormatSums(b.sums)
	entry := spec.Entry{Path: spec.SumsName, Type: spec.TypeFile, Size: int64(len(content)), Mode: 0o444, ModTime: b.modTime().Unix()}
	desc, diffID, err := b.layer(ctx, c, entry.Size, func(t *archive.TarWriter) error {
		var err error
		entry.SHA256, err = t.File(spec.SumsName, entry.Size, bytes.NewReader(content))
		return err
	})
	if err != nil {
		return fmt.Errorf("packing %s: %w", spec.SumsName, err)
	}
	b.layers = append([]ocispec.Descriptor{desc}, b.layers...)
	b.diffIDs = append([]digest.Digest{diffID}, b.diffIDs...)
	b.entries = append([]spec.Entry{entry}, b.entries...)
	return nil
}

// config makes the image config. Its history has one entry for each layer with
// the time of the layer's entries, because tools that list the history count on
// both: umoci stat crashes at an entry without a time.
func (b *imageForm) config() *ocispec.Image {
	p := b.plan
	img := &ocispec.Image{
		Created:  p.Created,
		Platform: *p.options.Platform.OCI(),
		Config:   ocispec.ImageConfig{Labels: p.Labels},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: b.diffIDs},
	}
	titles := []string{spec.SumsName}
	for _, l := range p.Layers {
		titles = append(titles, l.Title)
	}
	at := b.modTime().UTC()
	for _, title := range titles {
		img.History = append(img.History, ocispec.History{Created: &at, CreatedBy: "nbpack build", Comment: title})
	}
	return img
}

// sortedSums gives the list as a consumer reads it.
func (b *imageForm) sortedSums() []spec.Sum {
	sums, err := spec.ParseSums(spec.FormatSums(b.sums))
	if err != nil {
		return nil // Check reports every file as unlisted then
	}
	return sums
}
