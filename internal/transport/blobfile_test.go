package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/nbpack/nbpack/internal/directio"
	"github.com/opencontainers/go-digest"
)

func TestBlobFile(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), (5*directio.BlockSize+64)/16)
	for _, durable := range []bool{false, true} {
		for _, piece := range []int{1000, blobBuffer, directio.BlockSize + 1} {
			name := filepath.Join(t.TempDir(), "blob")
			b, err := createBlob(context.Background(), name, durable)
			if err != nil {
				t.Fatal(err)
			}
			for rest := data; len(rest) > 0; {
				n := min(piece, len(rest))
				if _, err := b.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			d, err := b.finish(nil)
			if err != nil || d.Digest != digest.FromBytes(data) || d.Size != int64(len(data)) {
				t.Errorf("%+v, %v", d, err)
			}
			if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the file holds something else: %v", err)
			}
		}
	}
}

func TestBlobFileFails(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	b, err := createBlob(ctx, filepath.Join(t.TempDir(), "blob"), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(make([]byte, directio.BlockSize)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := b.Write(make([]byte, 2*blobBuffer)); !errors.Is(err, context.Canceled) {
		t.Errorf("it is written on: %v", err)
	}
	if _, err := b.finish(io.ErrUnexpectedEOF); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("finish gives %v", err)
	}
	if _, err := createBlob(ctx, t.TempDir(), false); err == nil {
		t.Error("a directory is overwritten")
	}
}
