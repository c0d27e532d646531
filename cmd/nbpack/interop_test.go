package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/umoci/oci/cas/dir"
	"github.com/opencontainers/umoci/oci/casext"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/cli"
)

// buildLayout packs a small tree into a layout with the real command and gives
// the layout and the digest.
func buildLayout(t *testing.T, flags ...string) (layoutDir, digest string) {
	t.Helper()
	tree, out := t.TempDir(), filepath.Join(t.TempDir(), "layout")
	for name, text := range map[string]string{"shimx64.efi": "shim", "grubx64.efi": "grub", "vmlinuz": strings.Repeat("kernel", 100000)} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"build", "-q", "--os-name", "test", "--os-version", "1", "--platform", "linux/arm64"}, flags...)
	var stdout, stderr bytes.Buffer
	if code := cli.Run(t.Context(), app(), append(args, tree, "oci:"+out+":v1"), &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	return out, strings.TrimSpace(stdout.String())
}

// TestCraneReads reads images with the library behind crane and has it compute
// the digests of all blobs and the diff IDs.
func TestCraneReads(t *testing.T) {
	for _, c := range archive.Compressions() {
		for _, layers := range []string{"single", "per-file"} {
			t.Run(string(c)+","+layers, func(t *testing.T) {
				dir, digest := buildLayout(t, "--compression", string(c), "--layers", layers)
				index, err := layout.ImageIndexFromPath(dir)
				if err != nil {
					t.Fatal(err)
				}
				manifest, err := index.IndexManifest()
				if err != nil {
					t.Fatal(err)
				}
				if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != digest {
					t.Fatalf("index %+v, want only %s", manifest.Manifests, digest)
				}
				img, err := index.Image(manifest.Manifests[0].Digest)
				if err != nil {
					t.Fatal(err)
				}
				readLayers(t, img)
			})
		}
	}
}

// readLayers compares what the library measures with what the documents say.
func readLayers(t *testing.T, img v1.Image) {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != len(config.RootFS.DiffIDs) {
		t.Fatalf("%d layers, error %v", len(layers), err)
	}
	for i, l := range layers {
		want, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		blob, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := v1.SHA256(blob); err != nil || got != want {
			t.Errorf("layer %d has digest %s, want %s, error %v", i, got, want, err)
		}
		tar, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := v1.SHA256(tar); err != nil || got != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d has diff ID %s, want %s, error %v", i, got, config.RootFS.DiffIDs[i], err)
		}
		_, _ = blob.Close(), tar.Close()
	}
}

// TestUmociLibraryReads reads images of each compression with the library
// behind current umoci.
func TestUmociLibraryReads(t *testing.T) {
	for _, c := range archive.Compressions() {
		t.Run(string(c), func(t *testing.T) {
			layoutDir, digest := buildLayout(t, "--compression", string(c))
			cas, err := dir.Open(layoutDir)
			if err != nil {
				t.Fatal(err)
			}
			engine := casext.NewEngine(cas)
			defer engine.Close()
			found, err := engine.ResolveReference(t.Context(), "v1")
			if err != nil || len(found) != 1 || found[0].Descriptor().Digest.String() != digest {
				t.Fatalf("reference %v, error %v, want %s", found, err, digest)
			}
			seen := 0
			err = engine.Walk(t.Context(), found[0].Descriptor(), func(path casext.DescriptorPath) error {
				body, err := engine.GetVerifiedBlob(t.Context(), path.Descriptor())
				if err != nil {
					return err
				}
				defer body.Close()
				seen++
				_, err = io.Copy(io.Discard, body)
				return err
			})
			if err != nil || seen != 4 {
				t.Errorf("read %d blobs, error %v", seen, err)
			}
		})
	}
}
