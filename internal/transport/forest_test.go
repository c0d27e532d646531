package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
)

const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// forest is content by digest, as it would lie in a layout.
type forest struct {
	t     testing.TB
	bytes map[digest.Digest][]byte
}

func newForest(t testing.TB) *forest { return &forest{t, map[digest.Digest][]byte{}} }

func (f *forest) add(mt string, b []byte) ocispec.Descriptor {
	d := describe(mt, b)
	f.bytes[d.Digest] = b
	return d
}

// add512 names content by sha512.
func (f *forest) add512(mt string, b []byte) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mt, Digest: digest.SHA512.FromBytes(b), Size: int64(len(b))}
	f.bytes[d.Digest] = b
	return d
}

// manifest is written with odd spaces and an unknown field.
func (f *forest) manifest(mt, more string, config ocispec.Descriptor, layers ...ocispec.Descriptor) []byte {
	c, err1 := json.Marshal(config)
	l, err2 := json.Marshal(layers)
	if err := errors.Join(err1, err2); err != nil {
		f.t.Fatal(err)
	}
	return []byte(fmt.Sprintf("{\n\t\"schemaVersion\" : 2, \"mediaType\":%q,%s \"config\": %s ,\n \"layers\":%s, \"x\": 1.0e2 }\n\n", mt, more, c, l))
}

// mixed is an index of what one finds in the field, under a tag of a layout.
func (f *forest) mixed(sha512 bool) ocispec.Descriptor {
	shared := f.add("application/octet-stream", bytes.Repeat([]byte("shared "), 50000))
	foreign := f.add("application/vnd.oci.image.layer.nondistributable.v1.tar", []byte("not distributable"))
	foreign.URLs = []string{"https://registry.example/never/asked"}
	empty := f.add(ocispec.MediaTypeEmptyJSON, []byte("{}"))
	odd := f.add("application/vnd.unknown.config.v1+json", []byte(`{ "odd": 1 }`))
	config := f.add(ocispec.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	image := f.add(ocispec.MediaTypeImageManifest, f.manifest(ocispec.MediaTypeImageManifest, "", config, shared, foreign, shared))
	image.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
	dockerConfig := f.add("application/vnd.docker.container.image.v1+json", []byte(`{"architecture":"arm64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	layer := f.add("application/vnd.docker.image.rootfs.diff.tar.gzip", []byte("gzip, they say"))
	docker := f.add(dockerManifest, f.manifest(dockerManifest, "", dockerConfig, layer))
	artifact := f.add(ocispec.MediaTypeImageManifest, f.manifest(ocispec.MediaTypeImageManifest, `"artifactType":"application/x-boot",`, empty, f.add("application/x-netboot-file", []byte("kernel")), shared))
	garden := f.add(ocispec.MediaTypeImageManifest, f.manifest(ocispec.MediaTypeImageManifest, "", odd, f.add("application/io.gardenlinux.release", nil)))
	children := []ocispec.Descriptor{image, docker, artifact, garden, image}
	if sha512 {
		blob := f.add512("application/octet-stream", []byte("named by sha512"))
		children = append(children, f.add512(ocispec.MediaTypeImageManifest, f.manifest(ocispec.MediaTypeImageManifest, "", f.add512(ocispec.MediaTypeEmptyJSON, []byte("{}")), blob)))
	}
	_, inner := indexOf(f.t, "inner", artifact)
	children = append(children, f.add(ocispec.MediaTypeImageIndex, inner))
	list := []byte(strings.Replace(string(inner), ocispec.MediaTypeImageIndex, dockerList, 1))
	children = append(children, f.add(dockerList, list))
	_, outer := indexOf(f.t, "outer", children...)
	return f.add(ocispec.MediaTypeImageIndex, outer)
}

// layout writes everything into a layout with d under the name v1.
func (f *forest) layout(d ocispec.Descriptor) string {
	f.t.Helper()
	dir := f.t.TempDir()
	for id, b := range f.bytes {
		write(f.t, filepath.Join(mkdir(f.t, dir, "blobs", id.Algorithm().String()), id.Encoded()), string(b))
	}
	index, err := ocilayout.NewIndex(ocilayout.Entry(d, "v1"))
	if err != nil {
		f.t.Fatal(err)
	}
	write(f.t, filepath.Join(dir, "index.json"), string(index))
	write(f.t, filepath.Join(dir, "oci-layout"), string(ocilayout.LayoutFile()))
	return "oci:" + dir + ":v1"
}

// check reads every byte back, by digest.
func (f *forest) check(c *Client, ref string, d ocispec.Descriptor) {
	f.t.Helper()
	src := openSource(f.t, c, ref)
	got, err := src.Resolve(f.t.Context())
	if err != nil || got.Digest != d.Digest || got.MediaType != d.MediaType {
		f.t.Fatalf("%s is %v, %v", ref, got, err)
	}
	for id, want := range f.bytes {
		var b []byte
		var err error
		if mt := typeOf(want); mt != "" {
			b, _, err = src.Manifest(f.t.Context(), ocispec.Descriptor{MediaType: mt, Digest: id, Size: int64(len(want))})
		} else {
			b, err = readBlob(f.t.Context(), src, ocispec.Descriptor{Digest: id, Size: int64(len(want))})
		}
		if err != nil || !bytes.Equal(b, want) {
			f.t.Errorf("%s of %s: %.60q, %v", id, ref, b, err)
		}
	}
}

func typeOf(b []byte) string {
	var m manifestShape
	_ = json.Unmarshal(b, &m)
	return m.MediaType
}

// copyTo copies what ref names to r, and gives it the tag v1.
func copyTo(t testing.TB, c *Client, ref string, r *Repository) error {
	t.Helper()
	src := openSource(t, c, ref)
	d, err := src.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Copy(t.Context(), src, d); err != nil {
		return err
	}
	_, body, err := r.Get(t.Context(), d.Digest.String())
	if err != nil {
		return err
	}
	_, err = r.Put(t.Context(), "v1", d.MediaType, body, PutOptions{})
	return err
}
