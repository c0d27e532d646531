//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// testStore is a store that buildah and skopeo fill, in a directory of its own.
type testStore struct {
	*testing.T
	dir, driver string
}

func newTestStore(t *testing.T, driver string) *testStore {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: buildah builds here as root only")
	}
	for _, tool := range []string{"buildah", "skopeo"} {
		testneed.Tool(t, tool)
	}
	s := &testStore{t, t.TempDir(), driver}
	t.Cleanup(func() {
		_ = unix.Unmount(filepath.Join(s.root(), driver), unix.MNT_DETACH) // where the driver left a mount
	})
	if err := s.try("buildah", s.flags("images")...); err != nil {
		t.Skipf("buildah cannot use the driver %s here: %v", driver, err)
	}
	return s
}

func (s *testStore) root() string { return filepath.Join(s.dir, "root") }

func (s *testStore) flags(args ...string) []string {
	return append([]string{"--root=" + s.root(), "--runroot=" + filepath.Join(s.dir, "run"), "--storage-driver=" + s.driver}, args...)
}

func (s *testStore) try(name string, args ...string) error {
	s.Helper()
	out, err := exec.CommandContext(s.Context(), name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}

func (s *testStore) must(name string, args ...string) {
	s.Helper()
	if err := s.try(name, args...); err != nil {
		s.Fatal(err)
	}
}

// build has buildah build an image. With --layers it has one for each step.
func (s *testStore) build(flags ...string) {
	s.Helper()
	src := s.TempDir()
	for name, content := range map[string]string{
		"Containerfile":         "FROM scratch\nCOPY efi /efi\nCOPY vmlinuz linux /\nCOPY initrd.img /\nLABEL org.pulpproject.netboot.version=1\n",
		"efi/boot/shimx64.efi":  "shim",
		"efi/boot/empty":        "",
		"efi/boot/grubx64.efi":  strings.Repeat("grub", 5000),
		"vmlinuz":               strings.Repeat("kernel", 70000),
		"initrd.img":            strings.Repeat("\x00initrd", 30000),
		"efi/boot/ümläut.mod":   "module",
		"efi/boot/sub/deep.mod": "module",
	} {
		p := filepath.Join(src, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o644)); err != nil {
			s.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("vmlinuz", filepath.Join(src, "linux")), os.Symlink("shimx64.efi", filepath.Join(src, "efi/boot/BOOT"))); err != nil {
		s.Fatal(err)
	}
	s.must("buildah", s.flags(append([]string{"build", "-q"}, append(flags, src)...)...)...)
}

// copy has skopeo copy an image; storage references get this store.
func (s *testStore) copy(from, to string, flags ...string) {
	s.Helper()
	s.must("skopeo", append([]string{"--insecure-policy", "copy", "-q", from, to}, flags...)...)
}

// skopeo gives the reference of an image as skopeo wants it.
func (s *testStore) skopeo(name string) string {
	return fmt.Sprintf("containers-storage:[%s@%s+%s]%s", s.driver, s.root(), filepath.Join(s.dir, "run"), name)
}

func (s *testStore) ref(name string) Reference {
	s.Helper()
	ref, err := ParseReference(fmt.Sprintf("containers-storage:[%s@%s]%s", s.driver, s.root(), name))
	if err != nil {
		s.Fatal(err)
	}
	return ref
}

// open gives a source whose temporary files must be gone in the end.
func (s *testStore) open(name string) Source {
	s.Helper()
	temp := s.TempDir()
	c := testClient(s.T, Options{TempDir: temp})
	src, err := c.Source(s.Context(), s.ref(name))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := errors.Join(src.Close(), c.Close()); err != nil {
			s.Error(err)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			s.Errorf("left behind: %v, %v", left, err)
		}
	})
	return src
}

// resolved is an image with everything that it names.
type resolved struct {
	top      ocispec.Descriptor
	raw      []byte
	manifest *ocispec.Manifest
	config   *ocispec.Image
	blobs    map[digest.Digest][]byte
}

// readImage reads an image to its last byte.
func (s *testStore) readImage(src Source) *resolved {
	s.Helper()
	d, err := src.Resolve(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return s.readManifest(src, d)
}

func (s *testStore) readManifest(src Source, d ocispec.Descriptor) *resolved {
	s.Helper()
	r := &resolved{top: d, blobs: map[digest.Digest][]byte{}}
	var mt string
	var err error
	if r.raw, mt, err = src.Manifest(s.Context(), d); err != nil {
		s.Fatal(err)
	}
	if mt != d.MediaType || digest.FromBytes(r.raw) != d.Digest || int64(len(r.raw)) != d.Size {
		s.Errorf("manifest is %s, %d bytes of %q, want %+v", digest.FromBytes(r.raw), len(r.raw), mt, d)
	}
	if r.manifest, err = spec.ParseManifest(mt, r.raw); err != nil {
		s.Fatal(err)
	}
	for _, b := range append([]ocispec.Descriptor{r.manifest.Config}, r.manifest.Layers...) {
		r.blobs[b.Digest] = s.readBlob(src, b)
		if digest.FromBytes(r.blobs[b.Digest]) != b.Digest || int64(len(r.blobs[b.Digest])) != b.Size {
			s.Errorf("blob %+v is something else", b)
		}
	}
	if r.config, err = spec.ParseConfig(r.blobs[r.manifest.Config.Digest]); err != nil {
		s.Fatal(err)
	}
	return r
}

func (s *testStore) readBlob(src Source, d ocispec.Descriptor) []byte {
	s.Helper()
	r, err := src.Blob(s.Context(), d)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.Fatal(err)
	}
	return b
}

// tars checks that the layers are the tars that the config promises.
func (r *resolved) tars(t *testing.T, mediaType string) {
	t.Helper()
	for i, l := range r.manifest.Layers {
		if l.Digest != r.config.RootFS.DiffIDs[i] || l.MediaType != mediaType {
			t.Errorf("layer %d is %+v, want the tar %s", i, l, r.config.RootFS.DiffIDs[i])
		}
	}
}

// inodes describes every file of a tree, to the time it was changed.
func inodes(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		sys := st.Sys().(*syscall.Stat_t)
		found[p] = fmt.Sprint(st.Mode(), st.Size(), sys.Ino, sys.Mtim, sys.Ctim)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// namedImage gives the ID of the only image that has a name.
func (s *testStore) namedImage() string {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join(s.root(), s.driver+"-images", "images.json"))
	var images []struct {
		ID    string   `json:"id"`
		Names []string `json:"names"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &images)
	}
	for _, img := range images {
		if len(img.Names) > 0 {
			return img.ID
		}
	}
	s.Fatalf("no image has a name: %v", err)
	return ""
}

// exitCode is what a command would end with.
func exitCode(err error) int {
	var coder interface{ ExitCode() int }
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coder):
		return coder.ExitCode()
	}
	return 1
}
