package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/spec"
)

// Stage is an image under construction: an OCI layout in a hidden directory on
// the file system of the destination. PutBlob may be called from several
// goroutines; Publish and Close may not overlap with it.
type Stage struct {
	c      *Client
	dst    Reference
	work   *ocilayout.StageDir
	layout string // the layout in the hidden directory

	mu     sync.Mutex
	closed bool
	files  int // temporary ones, for their names
	blobs  map[digest.Digest]int64
	ahead  headStarts
}

// NewStage starts an image that will be published as dst. It checks what can
// be known before the work starts: that the destination is one that can be
// written to without harm to what is there. Nothing visible is created.
func (c *Client) NewStage(ctx context.Context, dst Reference) (*Stage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	parent, err := c.stageParent(dst)
	if err != nil {
		return nil, err
	}
	work, err := ocilayout.NewStageDir(parent, c.logf)
	if err != nil {
		return nil, fmt.Errorf("create a stage for %q: %w", dst, err)
	}
	s := &Stage{c: c, dst: dst, work: work, layout: filepath.Join(work.Path, "layout"), blobs: map[digest.Digest]int64{}}
	if err := os.MkdirAll(filepath.Join(s.layout, ocispec.ImageBlobsDir, digest.SHA256.String()), 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("create a stage for %q: %w", dst, err), s.Close())
	}
	return s, nil
}

// PutBlob stores what write writes as a blob and gives its digest and size.
// When write fails, or the context ends, nothing is stored.
func (s *Stage) PutBlob(ctx context.Context, write func(w io.Writer) error) (ocispec.Descriptor, error) {
	d, err := s.putBlob(ctx, write)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("write a blob of %q: %w", s.dst, err)
	}
	return d, nil
}

func (s *Stage) putBlob(ctx context.Context, write func(w io.Writer) error) (ocispec.Descriptor, error) {
	name, err := s.tempName()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	// What is uploaded, or copied into an archive, need not outlive this run.
	b, err := createBlob(ctx, name, s.dst.Transport == OCI || s.dst.Transport == Dir)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if s.dst.Transport == Docker {
		b.start = func() *headStart { return s.headStart(ctx, name) }
	}
	if err = write(b); err == nil {
		err = ctx.Err()
	}
	d, err := b.finish(err)
	if err != nil {
		return d, errors.Join(err, os.Remove(name))
	}
	if err := os.Rename(name, s.blobPath(d.Digest)); err != nil {
		b.ahead.abandon()
		return d, err
	}
	s.ahead.add(d.Digest, b.ahead)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d.Digest] = d.Size
	return d, nil
}

// tempName names a file for a blob that is being written.
func (s *Stage) tempName() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", errors.New("the stage is closed")
	}
	s.files++
	return filepath.Join(s.work.Path, fmt.Sprintf("blob-%d", s.files)), nil
}

// Blob opens a blob that was put before, as a verifying stream.
func (s *Stage) Blob(d digest.Digest) (io.ReadCloser, error) {
	size, ok := s.size(d)
	if !ok {
		return nil, &NotFoundError{Ref: s.dst.String(), What: "staged blob " + d.String()}
	}
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return nil, fmt.Errorf("open staged blob: %w", err)
	}
	return newVerifyReader(f, ocispec.Descriptor{Digest: d, Size: size}), nil
}

func (s *Stage) size(d digest.Digest) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size, ok := s.blobs[d]
	return size, ok
}

func (s *Stage) blobPath(d digest.Digest) string {
	return filepath.Join(s.layout, filepath.FromSlash(ocilayout.BlobName(d)))
}

// finish lets no more blobs come.
func (s *Stage) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// Close removes what is left of the stage. It may be called more than once.
func (s *Stage) Close() error {
	s.finish()
	s.ahead.abandon()
	if err := s.work.Remove(); err != nil {
		return fmt.Errorf("remove the stage of %q: %w", s.dst, err)
	}
	return nil
}

// Publish puts the image at its destination: the blobs that the manifest
// names, the manifest, and last the name or tag. The manifest's bytes are
// stored as they are, so its digest is the same everywhere. When it fails,
// the destination shows what it showed before.
func (s *Stage) Publish(ctx context.Context, mediaType string, manifest []byte) (ocispec.Descriptor, error) {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}
	if s.dst.Digest != "" && s.dst.Digest != d.Digest {
		return d, fmt.Errorf("publish %q: the image has the digest %s instead", s.dst, d.Digest)
	}
	blobs, err := s.needed(mediaType, manifest)
	if err != nil {
		return d, fmt.Errorf("publish %q: %w", s.dst, err)
	}
	im := image{manifest: d, raw: manifest, blobs: blobs}
	switch s.dst.Transport {
	case Docker:
		err = s.publishRegistry(ctx, im)
	case OCI:
		err = s.publishLayout(ctx, im)
	case OCIArchive:
		err = s.publishArchive(ctx, im)
	case Dir:
		err = s.publishDir(ctx, im)
	default:
		err = fmt.Errorf("transport %q is not supported", s.dst.Transport)
	}
	if err != nil {
		return d, fmt.Errorf("publish %q: %w", s.dst, err)
	}
	return d, nil
}

// image is what gets published.
type image struct {
	manifest ocispec.Descriptor
	raw      []byte
	blobs    []ocispec.Descriptor // each once, in the manifest's order
}

// needed lists the blobs that a manifest names, all of them staged.
func (s *Stage) needed(mediaType string, raw []byte) ([]ocispec.Descriptor, error) {
	m, err := spec.ParseManifest(mediaType, raw)
	if err != nil {
		return nil, err
	}
	var out []ocispec.Descriptor
	seen := map[digest.Digest]bool{}
	for _, d := range append([]ocispec.Descriptor{m.Config}, m.Layers...) {
		size, ok := s.size(d.Digest)
		if !ok {
			return nil, &NotFoundError{Ref: s.dst.String(), What: "staged blob " + d.Digest.String()}
		}
		if size != d.Size {
			return nil, spec.Refuse(ruleSize, d.Digest.String(), "staged blob has %d bytes, its descriptor says %d", size, d.Size)
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			out = append(out, d)
		}
	}
	return out, nil
}
