package pack

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// indexError says that a reference names an index where one image is needed.
type indexError struct{ entries []ocispec.Descriptor }

func (e *indexError) Error() string { return "this is an index of several images, not an image" }
func (e *indexError) ExitCode() int { return 2 }

// Hint lists what the index has, as far as a line goes.
func (e *indexError) Hint() string {
	const most = 6
	hint := "name one of them by its digest:"
	for i, d := range e.entries {
		if i == most {
			return hint + fmt.Sprintf(" and %d more", len(e.entries)-most)
		}
		hint += " @" + d.Digest.String()
		if p, ok := spec.PlatformOf(d.Platform); ok {
			hint += " (" + p.String() + ")"
		}
	}
	return hint
}

// documents are the two small documents of an image.
type documents struct {
	desc     ocispec.Descriptor // of the manifest
	manifest *ocispec.Manifest
	config   *ocispec.Image // nil where the layers are named files
}

func (d *documents) namesFiles() bool { return spec.FormOf(d.manifest, nil).NamesFiles() }

// readDocuments reads manifest and config. What breaks a rule of the format is a
// *spec.Refusal.
func readDocuments(ctx context.Context, src transport.Source) (*documents, error) {
	desc, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	raw, mediaType, err := src.Manifest(ctx, desc)
	if err != nil {
		return nil, err
	}
	desc.MediaType, desc.Size = mediaType, int64(len(raw))
	if spec.IsIndex(mediaType) {
		index, err := spec.ParseIndex(mediaType, raw)
		if err != nil {
			return nil, err
		}
		return nil, &indexError{index.Manifests}
	}
	d := &documents{desc: desc}
	if d.manifest, err = spec.ParseManifest(mediaType, raw); err != nil {
		return nil, err
	}
	if d.namesFiles() {
		return d, nil
	}
	if d.manifest.Config.Size > spec.MaxManifestSize {
		return nil, spec.Refuse(spec.RuleDocumentSize, "", "the config has %d bytes, %d are permitted", d.manifest.Config.Size, spec.MaxManifestSize)
	}
	body, err := src.Blob(ctx, d.manifest.Config)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if raw, err = io.ReadAll(body); err != nil {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	d.config, err = spec.ParseConfig(raw)
	return d, err
}

// content is what the layers of an image hold.
type content struct {
	entries []spec.Entry
	diffIDs []digest.Digest
	sums    []byte // SHA256SUM, if hasSums
	hasSums bool
	names   int64
	boot    *bootcheck.Checker // looks at the files; nil if nobody wants to know
}

// readLayer reads one layer to its end, and adds what it holds.
func (c *content) readLayer(ctx context.Context, src transport.Source, desc ocispec.Descriptor, index int) error {
	if _, err := spec.LayerCodec(desc.MediaType); err != nil {
		return err // before anything is fetched
	}
	body, err := src.Blob(ctx, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	layer, err := archive.NewLayerReader(ctx, body, desc, index)
	if err != nil {
		return err
	}
	defer layer.Close()
	for {
		e, err := layer.Next()
		if errors.Is(err, io.EOF) {
			c.diffIDs = append(c.diffIDs, layer.DiffID())
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.add(e, layer); err != nil {
			return err
		}
	}
}

// readNamed reads one layer of a manifest whose layers are named files, and adds
// what it holds.
func (c *content) readNamed(ctx context.Context, src transport.Source, desc ocispec.Descriptor, index int) error {
	file, ok, err := spec.ParseArtifactLayer(desc)
	if err != nil || !ok {
		return err
	}
	if file.Dir {
		if err := c.readLayer(ctx, src, desc, index); err != nil {
			return err
		}
		if got := c.diffIDs[len(c.diffIDs)-1]; file.Digest != "" && file.Digest != got {
			return spec.Refuse(spec.RuleDiffID, file.Path, "the directory has the diff ID %s, its annotation says %s", got, file.Digest)
		}
		return nil
	}
	body, err := src.Blob(ctx, desc)
	if err != nil {
		return err
	}
	defer body.Close()
	r, err := archive.NewFileReader(ctx, body, file.Codec, desc)
	if err != nil {
		return err
	}
	defer r.Close()
	return c.add(spec.Entry{Layer: index, Path: file.Path, Type: spec.TypeFile, Size: file.Bound}, r)
}

// contentReader gives the content of a file, and its digest once that was read.
type contentReader interface {
	io.Reader
	SHA256() string
}

// add reads the content of an entry, and keeps that of SHA256SUM.
func (c *content) add(e spec.Entry, r contentReader) error {
	// Each layer keeps its own bounds; this keeps those of the whole image.
	c.names += int64(len(e.Path) + len(e.Target))
	if len(c.entries) >= spec.MaxEntries || c.names > spec.MaxNamesSize {
		return spec.Refuse(spec.RuleEntryCount, e.Path, "the layers together have too many entries or too long names")
	}
	if e.Type == spec.TypeFile {
		w := io.Discard
		boot := c.boot
		if e.Path == spec.SumsName && !c.hasSums {
			if e.Size > spec.MaxSumsSize {
				return spec.Refuse(spec.RuleDocumentSize, e.Path, "has %d bytes, %d are permitted", e.Size, spec.MaxSumsSize)
			}
			c.hasSums, boot = true, nil
			w = (*keeper)(&c.sums)
		}
		probe, done := probed(boot, e.Path, r)
		n, err := io.Copy(w, probe)
		done(err)
		if err != nil {
			return fmt.Errorf("reading %q: %w", e.Path, err)
		}
		e.Size = n // of a file without a declared size, only a bound was known
		e.SHA256 = r.SHA256()
	}
	c.entries = append(c.entries, e)
	return nil
}

// keeper is a byte slice that can be written to.
type keeper []byte

func (k *keeper) Write(p []byte) (int, error) {
	*k = append(*k, p...)
	return len(p), nil
}
