package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// warm reads what a tool is going to fetch, past the proxy: whether a server has it in
// its page cache depends on what ran before, and is not what is compared.
func (s *stand) warm(ctx context.Context, repo, reference string) error {
	url := "http://" + s.proxy.registry + "/v2/" + repo
	body, _, err := getManifest(ctx, url+"/manifests/"+reference)
	if err != nil {
		return err
	}
	var m struct {
		Layers    []ocispec.Descriptor
		Manifests []ocispec.Descriptor
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return fmt.Errorf("manifest of %s: %w", repo, err)
	}
	for _, d := range m.Manifests {
		if err := s.warm(ctx, repo, d.Digest.String()); err != nil {
			return err
		}
	}
	for _, d := range m.Layers {
		if err := readAway(ctx, url+"/blobs/"+d.Digest.String()); err != nil {
			return err
		}
	}
	return nil
}

func readAway(ctx context.Context, url string) error {
	body, err := openURL(ctx, url)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// warmTree does the same for the tree that rsync sends.
func warmTree(tree string) error {
	names, err := filepath.Glob(filepath.Join(tree, "*"))
	for _, name := range names {
		file, openErr := os.Open(name)
		if openErr != nil {
			return openErr
		}
		_, err = io.Copy(io.Discard, file)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return err
}
