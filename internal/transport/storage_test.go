//go:build linux && containers_image_openpgp && (!cgo || exclude_graphdriver_btrfs)

package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestStorageBuilt reads what buildah built: the manifest is the stored one, and
// every layer has the bytes that skopeo reads.
func TestStorageBuilt(t *testing.T) {
	for _, driver := range []string{"vfs", "overlay"} {
		t.Run(driver, func(t *testing.T) {
			s := newTestStore(t, driver)
			s.build("--layers", "-t", "localhost/netboot:v1")
			copied := t.TempDir()
			s.copy(s.skopeo("localhost/netboot:v1"), "dir:"+copied)
			before := inodes(t, s.root())
			image := s.readImage(s.open("localhost/netboot:v1"))
			if len(image.manifest.Layers) < 3 {
				t.Errorf("only %d layers", len(image.manifest.Layers))
			}
			image.tars(t, ocispec.MediaTypeImageLayer)
			for d, b := range image.blobs {
				want, err := os.ReadFile(filepath.Join(copied, dirBlobName(d)))
				if err != nil || !bytes.Equal(b, want) {
					t.Errorf("blob %s is not what skopeo has: %v", d, err)
				}
			}
			if want, err := os.ReadFile(filepath.Join(copied, dirManifest)); err != nil || !bytes.Equal(image.raw, want) {
				t.Errorf("manifest\n%s\nis not what skopeo has: %v\n%s", image.raw, err, want)
			}
			if after := inodes(t, s.root()); !maps.Equal(before, after) {
				t.Errorf("the store was changed:\n%v\n%v", before, after)
			}
		})
	}
}

// TestStoragePulled reads an image whose layers were compressed where it came
// from: the tars take their place, in the same manifest every time.
func TestStoragePulled(t *testing.T) {
	for _, tt := range []struct{ name, flag, layerType string }{
		{"oci", "oci", ocispec.MediaTypeImageLayer},
		{"docker", "v2s2", "application/vnd.docker.image.rootfs.diff.tar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			built := newTestStore(t, "vfs")
			built.build("--layers", "-t", "localhost/netboot:v1")
			pushed := "dir:" + t.TempDir()
			built.copy(built.skopeo("localhost/netboot:v1"), pushed, "--dest-compress", "--format="+tt.flag)
			var first *resolved
			for _, driver := range []string{"vfs", "overlay"} {
				s := newTestStore(t, driver)
				s.copy(pushed, s.skopeo("localhost/pulled:v1"))
				src := s.open("localhost/pulled:v1")
				image := s.readImage(src)
				image.tars(t, tt.layerType)
				if first == nil {
					first = image
				}
				if !bytes.Equal(image.raw, first.raw) {
					t.Errorf("another manifest:\n%s\n%s", image.raw, first.raw)
				}
				s.checkOriginal(src, strings.TrimPrefix(pushed, "dir:"), image)
			}
		})
	}
}

// checkOriginal: by its own digest the stored manifest comes as it is, and a
// reference that pins it has the content that it promises.
func (s *testStore) checkOriginal(src Source, dir string, derived *resolved) {
	s.Helper()
	want, err := os.ReadFile(filepath.Join(dir, dirManifest))
	if err != nil {
		s.Fatal(err)
	}
	d := digest.FromBytes(want)
	if d == derived.top.Digest {
		s.Fatal("nothing was compressed")
	}
	got, mt, err := src.Manifest(s.Context(), ocispec.Descriptor{Digest: d, Size: -1})
	if err != nil || !bytes.Equal(got, want) {
		s.Errorf("manifest %s is %s, %v", d, got, err)
	}
	original, err := spec.ParseManifest(mt, got)
	if err != nil {
		s.Fatal(err)
	}
	if original.Config.Digest != derived.manifest.Config.Digest {
		s.Error("the config is another one")
	}
	if _, err := src.Blob(s.Context(), original.Layers[0]); exitCode(err) != 4 {
		s.Errorf("the compressed layer: %v, want not found", err)
	}
	pinned, err := s.open("localhost/pulled@" + d.String()).Resolve(s.Context())
	if err != nil || pinned.Digest != derived.top.Digest {
		s.Errorf("pinned by %s: %+v, %v", d, pinned, err)
	}
	// A new source has to know the derived manifest as well.
	if _, _, err := s.open("localhost/pulled:v1").Manifest(s.Context(), derived.top); err != nil {
		s.Error(err)
	}
}

// TestStorageIndex reads a manifest list and its images, which have no names.
func TestStorageIndex(t *testing.T) {
	s := newTestStore(t, "vfs")
	s.build("--manifest", "localhost/list:v1", "--platform", "linux/amd64,linux/arm64")
	src := s.open("localhost/list:v1")
	d, err := src.Resolve(t.Context())
	if err != nil || !spec.IsIndex(d.MediaType) {
		t.Fatalf("%+v, %v", d, err)
	}
	body, mt, err := src.Manifest(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	index, err := spec.ParseIndex(mt, body)
	if err != nil || len(index.Manifests) != 2 {
		t.Fatalf("%s, %v", body, err)
	}
	for _, entry := range index.Manifests {
		image := s.readManifest(src, entry)
		if image.config.Architecture != entry.Platform.Architecture {
			t.Errorf("entry for %s is %s", entry.Platform.Architecture, image.config.Architecture)
		}
	}
	// The digest that names the stored index names it, too.
	if again, err := s.open("localhost/list@" + d.Digest.String()).Resolve(t.Context()); err != nil || again.Digest != d.Digest {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestStorageIndexPulled: the entries of an index follow their manifests.
func TestStorageIndexPulled(t *testing.T) {
	built := newTestStore(t, "vfs")
	built.build("-t", "localhost/netboot:v1", "--platform", "linux/arm64")
	pushed := "dir:" + t.TempDir()
	built.copy(built.skopeo("localhost/netboot:v1"), pushed, "--dest-compress")
	s := newTestStore(t, "vfs")
	s.copy(pushed, s.skopeo("localhost/pulled:v1"))
	s.must("buildah", s.flags("manifest", "create", "localhost/list:v1")...)
	s.must("buildah", s.flags("manifest", "add", "localhost/list:v1", s.skopeo("localhost/pulled:v1"))...)
	src := s.open("localhost/list:v1")
	d, err := src.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body, mt, err := src.Manifest(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	index, err := spec.ParseIndex(mt, body)
	if err != nil || len(index.Manifests) != 1 {
		t.Fatalf("%s, %v", body, err)
	}
	s.readManifest(src, index.Manifests[0]).tars(t, ocispec.MediaTypeImageLayer)
	if p := index.Manifests[0].Platform; p == nil || p.Architecture != "arm64" {
		t.Errorf("the entry lost its platform: %s", body)
	}
	// Without its image the list is as it was written.
	s.must("buildah", s.flags("rmi", "localhost/pulled:v1")...)
	if d, err = s.open("localhost/list:v1").Resolve(t.Context()); err != nil || d.Digest == digest.FromBytes(body) {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestStorageCopy: an index and all that is below it goes to a layout.
func TestStorageCopy(t *testing.T) {
	s := newTestStore(t, "vfs")
	s.build("--manifest", "localhost/list:v1", "--platform", "linux/amd64,linux/arm64")
	src := s.open("localhost/list:v1")
	d, err := src.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := testClient(t, Options{})
	layout, err := ParseReference("oci:" + filepath.Join(t.TempDir(), "layout"))
	if err != nil {
		t.Fatal(err)
	}
	repo, err := c.Repository(t.Context(), layout)
	if err != nil {
		t.Fatal(err)
	}
	defer repo.Close()
	if err := repo.Copy(t.Context(), src, d); err != nil {
		t.Fatal(err)
	}
	body, mt, err := src.Manifest(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Put(t.Context(), "v1", mt, body, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	index, err := spec.ParseIndex(mt, body)
	if err != nil || len(index.Manifests) != 2 {
		t.Fatalf("%s, %v", body, err)
	}
	layout.Tag = "v1"
	copied, err := c.Source(t.Context(), layout)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if again, err := copied.Resolve(t.Context()); err != nil || again.Digest != d.Digest {
		t.Errorf("%+v, %v, want %s", again, err, d.Digest)
	}
	for _, entry := range index.Manifests {
		s.readManifest(copied, entry)
	}
}

// TestStorageDamaged: a file of a layer that was changed makes no layer.
func TestStorageDamaged(t *testing.T) {
	s := newTestStore(t, "vfs")
	s.build("--layers", "-t", "localhost/netboot:v1")
	src := s.open("localhost/netboot:v1")
	image := s.readImage(src)
	found, err := filepath.Glob(filepath.Join(s.root(), "vfs/dir/*/vmlinuz"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	for _, p := range found {
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("K"), 3)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := 0
	for _, l := range image.manifest.Layers {
		r, err := src.Blob(t.Context(), l)
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			err = errors.Join(err, r.Close())
		}
		if exitCode(err) == 3 {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d layers were refused, want the one that has the file", refused)
	}
	// A descriptor that promises another size or content is refused as well.
	whole := image.manifest.Layers[0]
	for _, size := range []int64{0, 1, whole.Size - 1, whole.Size + 1} {
		r, err := src.Blob(t.Context(), ocispec.Descriptor{Digest: whole.Digest, Size: size})
		if err == nil {
			_, err = io.Copy(io.Discard, r)
			r.Close()
		}
		if exitCode(err) != 3 {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// TestStorageLocked: who waits for podman's lock can be interrupted, and after
// the lock was given back the store is read as before.
func TestStorageLocked(t *testing.T) {
	s := newTestStore(t, "vfs")
	s.build("-t", "localhost/netboot:v1")
	src := s.open("localhost/netboot:v1")
	image := s.readImage(src)
	for _, name := range []string{"vfs-images/images.lock", "vfs-layers/layers.lock"} {
		f, err := os.OpenFile(filepath.Join(s.root(), name), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		// Locks of an open file conflict with those of a process, this one too.
		// The call that was left behind before may still have its own.
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error)
		go func() {
			r, err := src.Blob(ctx, image.manifest.Layers[0])
			if err == nil {
				err = r.Close()
			}
			got <- err
		}()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("%s is held: %v, want the end of the context", name, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.readImage(src)
	// While a layer is being read, podman can work: nothing is locked.
	r, err := src.Blob(t.Context(), image.manifest.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	s.must("buildah", s.flags("rmi", "-a", "-f")...)
	if b, err := io.ReadAll(r); err != nil || int64(len(b)) != image.manifest.Layers[0].Size {
		t.Errorf("read %d bytes, %v", len(b), err)
	}
	if _, err := src.Resolve(t.Context()); exitCode(err) != 4 {
		t.Errorf("the image was removed: %v", err)
	}
	// Closing the source ends its streams.
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("a stream goes on without its source")
	}
	r.Close()
}

// TestStorageReadOnly: nothing is ever written there.
func TestStorageReadOnly(t *testing.T) {
	c := testClient(t, Options{})
	ref, err := ParseReference("containers-storage:localhost/netboot:v1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewStage(t.Context(), ref); exitCode(err) != 2 {
		t.Errorf("a stage: %v, want a usage error", err)
	}
}
