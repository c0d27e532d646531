package pack

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// emptyConfig is the config of a manifest that needs none.
const emptyConfig = "{}"

// artifactForm makes a manifest whose layers are files as they are.
type artifactForm struct {
	*job
	layers  []ocispec.Descriptor
	entries []spec.Entry
	stored  map[*source.Entry]ocispec.Descriptor // a file with several names is read once
}

func newArtifactForm(j *job) *artifactForm {
	return &artifactForm{job: j, stored: map[*source.Entry]ocispec.Descriptor{}}
}

// fill implements form.
func (a *artifactForm) fill(ctx context.Context) error {
	for i := range a.planned.layers {
		l := &a.planned.layers[i]
		blob, err := a.file(ctx, &l.Entries[0])
		if err != nil {
			return err
		}
		blob.MediaType = l.MediaType
		blob.Annotations = map[string]string{
			ocispec.AnnotationTitle:  l.Title,
			spec.AnnotationSrcDigest: blob.Digest.String(),
			spec.AnnotationSrcSize:   strconv.FormatInt(blob.Size, 10),
		}
		a.layers = append(a.layers, blob)
		a.entries = append(a.entries, spec.Entry{Layer: i, Path: l.Title, Type: spec.TypeFile, Size: blob.Size, SHA256: blob.Digest.Encoded()})
	}
	return nil
}

// file stores one file, unless it has been stored under another name.
func (a *artifactForm) file(ctx context.Context, e *Entry) (ocispec.Descriptor, error) {
	if blob, ok := a.stored[e.node]; ok {
		a.files.count(e.Size)
		return blob, nil
	}
	var blob ocispec.Descriptor
	_, err := a.files.read(ctx, e, func(r io.Reader) (string, error) {
		var err error
		if blob, err = a.stage.PutBlob(ctx, func(w io.Writer) error { return copyAll(w, r, e.Size) }); err != nil {
			return "", err
		}
		return blob.Digest.Encoded(), nil
	})
	if err == nil {
		a.stored[e.node] = blob
	}
	return blob, err
}

// copyAll copies a file of exactly size bytes.
func copyAll(w io.Writer, r io.Reader, size int64) error {
	n, err := io.Copy(w, io.LimitReader(r, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes of %d: %w", n, size, archive.ErrSourceChanged)
	}
	return err
}

// finish implements form.
func (a *artifactForm) finish(ctx context.Context) (*documents, error) {
	config, err := a.putConfig(ctx, ocispec.MediaTypeEmptyJSON, []byte(emptyConfig))
	if err != nil {
		return nil, err
	}
	d := &documents{manifest: a.manifest(config, a.layers)}
	return d, checkWritten(&spec.Image{MediaType: d.manifest.MediaType, Manifest: d.manifest, Entries: a.entries})
}
