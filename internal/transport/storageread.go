//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.podman.io/storage"
	"go.podman.io/storage/pkg/archive"

	"github.com/nbpack/nbpack/spec"
)

// document reads a manifest or config of an image.
func (s *imageStore) document(img *storage.Image, key string) ([]byte, error) {
	if size := img.BigDataSizes[key]; size > spec.MaxManifestSize {
		return nil, spec.Refuse(ruleManifest, key, "%d bytes are over the limit of %d", size, spec.MaxManifestSize)
	}
	return s.ImageBigData(img.ID, key)
}

// manifest reads a manifest or index of any image, nil if there is none with
// this digest.
func (s *imageStore) manifest(d digest.Digest) ([]byte, error) {
	images, err := s.Images()
	if err != nil {
		return nil, err
	}
	for i := range images {
		if key := manifestOf(&images[i], d); key != "" {
			return s.document(&images[i], key)
		}
	}
	return nil, nil
}

// config reads a blob of any image that is no layer: in practice, a config.
func (s *imageStore) config(d digest.Digest) ([]byte, error) {
	images, err := s.Images()
	if err != nil {
		return nil, err
	}
	for i := range images {
		if slices.Contains(images[i].BigDataNames, d.String()) {
			return s.document(&images[i], d.String())
		}
	}
	return nil, &NotFoundError{What: "blob " + d.String()}
}

// diffIDFlag marks layers that podman pulled in parts and knows by their table
// of contents; its value is the diff ID that the image promises.
const diffIDFlag = "expected-layer-diffid"

// layer finds a layer by its diff ID.
func (s *imageStore) layer(diffID digest.Digest) (*storage.Layer, error) {
	layers, err := s.Layers()
	if err != nil {
		return nil, err
	}
	for i, l := range layers {
		if l.UncompressedDigest == diffID || l.UncompressedDigest == "" && l.Flags[diffIDFlag] == diffID.String() {
			return &layers[i], nil
		}
	}
	return nil, &NotFoundError{What: "blob " + diffID.String()}
}

// blob gives the content of a layer or config, at most a byte more than the
// descriptor says.
func (s *imageStore) blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	layer, err := s.layer(d.Digest)
	var missing *NotFoundError
	if errors.As(err, &missing) {
		raw, err := s.config(d.Digest)
		return io.NopCloser(bytes.NewReader(raw)), err
	}
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.work.Path, "layer-*")
	if err != nil {
		return nil, fmt.Errorf("copy a layer: %w", err)
	}
	_, err = s.copyLayer(ctx, &limitedWriter{f, d.Size}, layer)
	if errors.Is(err, errLayerTooLong) {
		err = nil // the reader will say so
	}
	err = errors.Join(err, os.Remove(f.Name()))
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// copyLayer writes a layer's tar and gives its length.
func (s *imageStore) copyLayer(ctx context.Context, w io.Writer, layer *storage.Layer) (int64, error) {
	plain := archive.Uncompressed
	tar, err := s.Diff("", layer.ID, &storage.DiffOptions{Compression: &plain})
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(&ctxWriter{ctx, w}, tar)
	err = errors.Join(err, tar.Close())
	var errno syscall.Errno
	if err == nil || ctx.Err() != nil || errors.Is(err, errLayerTooLong) || errors.As(err, &errno) {
		return n, err
	}
	// Not for want of reading or writing: its files are not those of the tar.
	return n, spec.Refuse(ruleDigest, layer.UncompressedDigest.String(), "the store cannot make this layer again: %w", err)
}

var errLayerTooLong = errors.New("the layer is longer than its descriptor says")

// limitedWriter fails with errLayerTooLong at the second byte beyond its limit.
type limitedWriter struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (l *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		n, err := l.w.Write(p[:l.left+1])
		return n, errors.Join(err, errLayerTooLong)
	}
	n, err := l.w.Write(p)
	l.left -= int64(n)
	return n, err
}
