package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/durable"
	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/spec"
)

func (l *layoutStore) copies(src Source, _ CopyOptions) copier { return &layoutCopier{l, src} }

// layoutCopier stages parts of an image.
type layoutCopier struct {
	l   *layoutStore
	src Source
}

func (c *layoutCopier) blob(ctx context.Context, d ocispec.Descriptor) error {
	if err := checkDescriptor(d, false); err != nil {
		return err
	}
	if there, err := c.l.has(ctx, d); there || err != nil {
		return err
	}
	return c.l.write(d, func(w io.Writer) (err error) {
		r, err := c.src.Blob(ctx, d)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		_, err = io.Copy(w, r)
		return err
	})
}

func (c *layoutCopier) manifest(ctx context.Context, d ocispec.Descriptor, body []byte) error {
	if there, err := c.l.has(ctx, d); there || err != nil {
		return err
	}
	return c.l.write(d, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(body))
		return err
	})
}

// has reports whether the layout has a blob, whole. One that is damaged counts
// as missing, and is healed by being written again.
func (l *layoutStore) has(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if _, ok := l.stagedFile(d.Digest); ok {
		return true, nil
	}
	src, err := openLayout(l.at("", d.Digest))
	var absent *NotFoundError
	if errors.As(err, &absent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer src.Close()
	r, err := src.Blob(ctx, d)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	var damaged *spec.Refusal
	switch {
	case errors.As(err, &absent):
		return false, nil
	case errors.As(err, &damaged):
		l.c.logf("layout %q: %v; writing it again", l.ref, err)
		return false, nil
	case err != nil:
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relied[d.Digest] = d.Size
	return true, nil
}

// write stages what f writes as the content of d; f has checked it.
func (l *layoutStore) write(d ocispec.Descriptor, f func(io.Writer) error) error {
	if _, ok := l.stagedFile(d.Digest); ok {
		return nil
	}
	name, err := l.newFile()
	if err != nil {
		return err
	}
	if err := durable.Write(name, f); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.staged[d.Digest] = name
	return nil
}

// newFile names a file in the stage, that nobody else will write.
func (l *layoutStore) newFile() (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stage == nil {
		parent, err := l.stageParent()
		if err != nil {
			return "", err
		}
		if l.stage, err = ocilayout.NewStageDir(parent, l.c.logf); err != nil {
			return "", err
		}
	}
	l.files++
	return filepath.Join(l.stage.Path, fmt.Sprintf("blob-%d", l.files)), nil
}

// stageParent is a directory on the file system of the layout.
func (l *layoutStore) stageParent() (string, error) {
	dir := l.ref.path()
	st, err := os.Stat(dir)
	if isNotExist(err) || l.held != nil && l.held.Made() {
		// A directory that was only made to be locked must be able to go.
		return nearestDir(filepath.Dir(dir))
	}
	if err == nil {
		_, err = checkLayoutTarget(l.ref, st)
	}
	return dir, err
}

// stagedManifest gives nil bytes for what is not staged.
func (l *layoutStore) stagedManifest(d digest.Digest) ([]byte, error) {
	name, ok := l.stagedFile(d)
	if !ok {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readManifest(f, ocispec.Descriptor{Digest: d, Size: -1})
}

func (l *layoutStore) stagedFile(d digest.Digest) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name, ok := l.staged[d]
	return name, ok
}
