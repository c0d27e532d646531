//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestStorageNames: an image is found by everything that podman calls it.
func TestStorageNames(t *testing.T) {
	s := newTestStore(t, "vfs")
	s.build("-t", "localhost/netboot:v1", "-t", "registry.example/os/netboot:latest")
	want := s.readImage(s.open("localhost/netboot:v1")).top
	id := s.namedImage()
	conf := filepath.Join(t.TempDir(), "registries.conf")
	if err := os.WriteFile(conf, []byte(`unqualified-search-registries = ["registry.example"]`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Options{TempDir: t.TempDir(), RegistriesConf: conf})
	t.Cleanup(func() { c.Close() })
	resolve := func(ref Reference) (ocispec.Descriptor, error) {
		src, err := c.Source(t.Context(), ref)
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		defer src.Close()
		return src.Resolve(t.Context())
	}
	for _, name := range []string{
		"netboot:v1", "registry.example/os/netboot", "os/netboot", "os/netboot:latest", "localhost/netboot:v1@" + want.Digest.String(),
		"localhost/netboot@" + want.Digest.String(), id, id[:12], "sha256:" + id, "@" + id, "@" + id[:7],
		"localhost/netboot:v1@" + id, "netboot@" + id[:12],
	} {
		if d, err := resolve(s.ref(name)); err != nil || d.Digest != want.Digest {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	none := strings.Repeat("0", 64)
	for _, name := range []string{
		"localhost/netboot", "localhost/netboot:v2", "registry.example/netboot", "nothing", none, "@" + none, "localhost/other@" + id,
		"localhost/netboot@sha256:" + none,
	} {
		if _, err := resolve(s.ref(name)); exitCode(err) != 4 {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}
	if _, err := resolve(s.ref("localhost/netboot:v2")); !strings.Contains(err.Error(), `it has "v1"`) {
		t.Errorf("what is there is not said: %v", err)
	}
	if tags, err := c.Tags(t.Context(), s.ref("netboot")); err != nil || len(tags) != 1 || tags[0] != "v1" {
		t.Errorf("tags %q, %v", tags, err)
	}
	if _, err := c.Tags(t.Context(), s.ref("nothing")); exitCode(err) != 4 {
		t.Errorf("tags of nothing: %v", err)
	}
}

// TestStorageDefault: without a store in brackets, storage.conf names it; with
// two drivers in it the reference has to.
func TestStorageDefault(t *testing.T) {
	s := newTestStore(t, "vfs")
	s.build("-t", "localhost/netboot:v1")
	conf := filepath.Join(t.TempDir(), "storage.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "[storage]\ndriver=\"vfs\"\ngraphroot=%q\nrunroot=%q\n", s.root(), s.dir+"/run"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONTAINERS_STORAGE_CONF", conf)
	resolve := func(ref string) error {
		r, err := ParseReference(ref)
		if err != nil {
			t.Fatal(err)
		}
		c := testClient(t, Options{TempDir: t.TempDir()})
		defer c.Close()
		src, err := c.Source(t.Context(), r)
		if err != nil {
			return err
		}
		defer src.Close()
		_, err = src.Resolve(t.Context())
		return err
	}
	if err := resolve("containers-storage:netboot:v1"); err != nil {
		t.Error(err)
	}
	if err := resolve("containers-storage:[" + s.root() + "]netboot:v1"); err != nil {
		t.Error(err)
	}
	for env, code := range map[string]int{"overlay": 4, "btrfs": 1} {
		t.Setenv("STORAGE_DRIVER", env)
		if err := resolve("containers-storage:netboot:v1"); exitCode(err) != code {
			t.Errorf("driver %s: %v, want exit code %d", env, err, code)
		}
	}
	if err := resolve("containers-storage:[vfs@" + t.TempDir() + "/none]netboot:v1"); exitCode(err) != 4 {
		t.Errorf("a store that is not there: %v", err)
	}
	if err := os.MkdirAll(filepath.Dir(imagesLock(s.root(), "overlay")), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(imagesLock(s.root(), "overlay"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := resolve("containers-storage:[" + s.root() + "]netboot:v1"); exitCode(err) != 2 {
		t.Errorf("two drivers: %v, want a usage error", err)
	}
}
