package extract

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/transport"
)

// lateSource opens a source when it is first asked for something, so that a
// step back that the disk can satisfy needs no network.
type lateSource struct {
	client *transport.Client
	ref    string
	src    transport.Source
}

func (l *lateSource) open(ctx context.Context) (transport.Source, error) {
	if l.src != nil {
		return l.src, nil
	}
	ref, err := transport.ParseReference(l.ref)
	if err != nil {
		return nil, err
	}
	l.src, err = l.client.Source(ctx, ref)
	return l.src, err
}

func (l *lateSource) Resolve(ctx context.Context) (ocispec.Descriptor, error) {
	src, err := l.open(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return src.Resolve(ctx)
}

func (l *lateSource) Manifest(ctx context.Context, d ocispec.Descriptor) ([]byte, string, error) {
	src, err := l.open(ctx)
	if err != nil {
		return nil, "", err
	}
	return src.Manifest(ctx, d)
}

func (l *lateSource) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	src, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	return src.Blob(ctx, d)
}

func (l *lateSource) BlobRanges(ctx context.Context, d ocispec.Descriptor, ranges []transport.Range, f func(i int, r io.Reader) error) error {
	src, err := l.open(ctx)
	if err != nil {
		return err
	}
	return transport.Ranges(ctx, src, d, ranges, f)
}

func (l *lateSource) ResumeBlob(ctx context.Context, d ocispec.Descriptor, have io.Reader) (io.ReadCloser, error) {
	src, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	return transport.Resume(ctx, src, d, have)
}

func (l *lateSource) Usage() transport.Usage {
	if l.src == nil {
		return transport.Usage{}
	}
	return l.src.Usage()
}

func (l *lateSource) Scheme() string {
	if l.src == nil {
		return ""
	}
	return l.src.Scheme()
}

func (l *lateSource) Close() error {
	if l.src == nil {
		return nil
	}
	return l.src.Close()
}
