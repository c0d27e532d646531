package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
)

// The floors are what the work costs at least: each byte is fetched, digested and
// written once, or read, digested and compressed once, or a registry is asked once. They prove nothing more and
// keep no promise about interruptions.

func floorPullCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "floor-pull URL TAG DIR",
		Short:  "Fetch the blobs of an artifact, digest and write them",
		Args:   cobra.ExactArgs(3),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return floorPull(cmd.Context(), args[0], args[1], args[2])
		},
	}
}

func floorAgainCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "floor-again URL TAG",
		Short:  "Ask what the tag of an artifact names now",
		Args:   cobra.ExactArgs(2),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return floorAgain(cmd.Context(), args[0]+"/manifests/"+args[1])
		},
	}
}

func floorPackCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "floor-pack TREE FILE [URL]",
		Short:  "Digest and compress the files of a tree, and upload that to a repository",
		Args:   cobra.RangeArgs(2, 3),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			sum, err := floorPack(args[0], args[1])
			if err != nil || len(args) == 2 {
				return err
			}
			return floorPush(cmd.Context(), args[2], args[1], sum)
		},
	}
}

func floorPull(ctx context.Context, url, tag, dir string) error {
	body, _, err := getManifest(ctx, url+"/manifests/"+tag)
	if err != nil {
		return err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return err
	}
	for _, layer := range m.Layers {
		name := filepath.Join(dir, filepath.Base(layer.Annotations[ocispec.AnnotationTitle]))
		if err := floorFetch(ctx, url+"/blobs/"+layer.Digest.String(), layer.Digest.Encoded(), name); err != nil {
			return err
		}
	}
	return nil
}

// floorAgain learns the digest of a manifest, as is done to find that nothing changed.
func floorAgain(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return err
	}
	req.Header["Accept"] = manifestTypes
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Docker-Content-Digest") == "" {
		return fmt.Errorf("head %s: %s", url, resp.Status)
	}
	return nil
}

// openURL gives what a server answers with 200.
func openURL(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("get %s: %s", url, resp.Status)
	}
	return resp.Body, nil
}

func floorFetch(ctx context.Context, url, sum, name string) error {
	body, err := openURL(ctx, url)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	h := sha256.New()
	_, err = io.CopyBuffer(io.MultiWriter(file, h), struct{ io.Reader }{body}, make([]byte, 1<<20))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != sum {
		return fmt.Errorf("%s is %s", url, got)
	}
	return nil
}

// floorPack digests the content of the files, compresses it at the level of the
// layers, and gives the SHA-256 of what it writes.
func floorPack(tree, blob string) (sum string, err error) {
	out, err := os.Create(blob)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	whole := sha256.New()
	enc, err := zstd.NewWriter(io.MultiWriter(out, whole), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return "", err
	}
	names, err := filepath.Glob(filepath.Join(tree, "*"))
	if err != nil {
		return "", err
	}
	for _, name := range names {
		if err := floorRead(enc, sha256.New(), name); err != nil {
			return "", err
		}
	}
	if err := enc.Close(); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", whole.Sum(nil)), out.Sync()
}

// floorPush uploads a blob in one request.
func floorPush(ctx context.Context, url, blob, sum string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/blobs/uploads/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	at, err := resp.Location()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", url, resp.Status, err)
	}
	q := at.Query()
	q.Set("digest", "sha256:"+sum)
	at.RawQuery = q.Encode()
	file, err := os.Open(blob)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	if req, err = http.NewRequestWithContext(ctx, http.MethodPut, at.String(), file); err != nil {
		return err
	}
	req.ContentLength = st.Size()
	req.Header.Set("Content-Type", "application/octet-stream")
	if resp, err = http.DefaultClient.Do(req); err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("upload to %s: %s", url, resp.Status)
	}
	return nil
}

func floorRead(to io.Writer, h hash.Hash, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(to, h)}, struct{ io.Reader }{file}, make([]byte, 1<<20))
	return err
}
