package transport

import (
	"context"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var errTODO = errors.New("not written yet")

// Client opens sources and stages.
type Client struct{ o Options }

// NewClient makes a client.
func NewClient(o Options) (*Client, error) { return &Client{o: o}, nil }

// Close closes idle connections.
func (c *Client) Close() error { return nil }

// Source opens the repository that ref names.
func (c *Client) Source(ctx context.Context, ref Reference) (Source, error) { return nil, errTODO }

// Tags lists the tags of a repository or the names in a layout.
func (c *Client) Tags(ctx context.Context, ref Reference) ([]string, error) { return nil, errTODO }

// Stage is an image under construction.
type Stage struct{}

// NewStage starts an image for dst.
func (c *Client) NewStage(ctx context.Context, dst Reference) (*Stage, error) { return nil, errTODO }

// PutBlob streams a blob into the stage.
func (s *Stage) PutBlob(ctx context.Context, write func(w io.Writer) error) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errTODO
}

// Blob opens a staged blob.
func (s *Stage) Blob(d digest.Digest) (io.ReadCloser, error) { return nil, errTODO }

// Publish writes the image to its destination.
func (s *Stage) Publish(ctx context.Context, mediaType string, manifest []byte) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{}, errTODO
}

// Close removes the stage.
func (s *Stage) Close() error { return nil }
