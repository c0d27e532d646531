package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/testserver"
)

// nbpackOK runs the real command in this process and gives its standard output.
func nbpackOK(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := cli.Run(t.Context(), app(), args, &stdout, &stderr); code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}

// artifactTree is a small boot tree, and what a consumer gets of it that knows
// no links.
func artifactTree(t *testing.T) (dir string, files map[string]string) {
	t.Helper()
	files = map[string]string{"EFI/BOOT/shimx64.efi": "shim", "EFI/BOOT/grubx64.efi": "grub", "images/vmlinuz": strings.Repeat("kernel", 10000), "empty": ""}
	dir = t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("images/vmlinuz", filepath.Join(dir, "vmlinuz")); err != nil {
		t.Fatal(err)
	}
	files["vmlinuz"] = files["images/vmlinuz"]
	return dir, files
}

// TestOrasPulls pulls both kinds of artifact with the library behind the oras
// command, from a layout and from a real registry, into files.
func TestOrasPulls(t *testing.T) {
	tree, files := artifactTree(t)
	kernel := filepath.Join(tree, "images/vmlinuz")
	build := []string{"build", "-q", "--tls-verify=false", "--os-name", "test", "--os-version", "1", "--platform", "linux/amd64", "--format"}
	layout := filepath.Join(t.TempDir(), "layout")
	host := testserver.Registry(t, "")
	repository, err := remote.NewRepository(host + "/boot/test")
	if err != nil {
		t.Fatal(err)
	}
	repository.PlainHTTP = true
	for _, tc := range []struct {
		name   string
		prefix string
		open   func() (oras.ReadOnlyTarget, error)
	}{
		{"layout", "oci:" + layout + ":", func() (oras.ReadOnlyTarget, error) { return oci.NewFromFS(t.Context(), os.DirFS(layout)) }},
		{"registry", host + "/boot/test:", func() (oras.ReadOnlyTarget, error) { return repository, nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			digest := nbpackOK(t, append(build, "artifact", tree, tc.prefix+"set")...)
			single := nbpackOK(t, append(build, "file", kernel, tc.prefix+"kernel")...)
			single = single[strings.Index(single, "sha256:"):] // a URL for a registry
			src, err := tc.open()
			if err != nil {
				t.Fatal(err)
			}
			if got := orasPull(t, src, "set", digest); !reflect.DeepEqual(got, files) {
				t.Errorf("pulled %d files, want %d", len(got), len(files))
			}
			if got := orasPull(t, src, "kernel", single); !reflect.DeepEqual(got, map[string]string{"vmlinuz": files["vmlinuz"]}) {
				t.Errorf("pulled %d files, want vmlinuz", len(got))
			}
		})
	}
}

// TestBlobsAreShared pushes the files of a netboot artifact once more, each by
// itself: nothing but manifests goes up.
func TestBlobsAreShared(t *testing.T) {
	tree, _ := artifactTree(t)
	var uploads atomic.Int64
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead && strings.Contains(r.URL.Path, "/blobs/") {
			uploads.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	to := strings.TrimPrefix(server.URL, "http://") + "/boot/test:"
	build := []string{"build", "-q", "--tls-verify=false", "--platform", "linux/amd64", "--format"}
	nbpackOK(t, append(build, "artifact", tree, to+"set")...)
	if uploads.Swap(0) == 0 {
		t.Fatal("no upload was seen")
	}
	for _, name := range []string{"images/vmlinuz", "EFI/BOOT/shimx64.efi", "empty"} {
		nbpackOK(t, append(build, "file", filepath.Join(tree, name), to+filepath.Base(name))...)
	}
	if n := uploads.Load(); n != 0 {
		t.Errorf("%d requests to upload blobs that were there", n)
	}
}

// orasPull pulls what a tag names, and gives the content of the files.
func orasPull(t *testing.T, src oras.ReadOnlyTarget, tag, digest string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	store, err := file.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	desc, err := oras.Copy(t.Context(), src, tag, store, tag, oras.DefaultCopyOptions)
	if err != nil {
		t.Fatal(err)
	}
	if desc.Digest.String() != digest || desc.MediaType != ocispec.MediaTypeImageManifest {
		t.Errorf("pulled %+v, want %s", desc, digest)
	}
	got := map[string]string{}
	root := os.DirFS(dir)
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		f, err := root.Open(rel)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		got[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
