package transport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/spec"
)

const mtManifest = ocispec.MediaTypeImageManifest

// testImage is a small image, as pack would make one.
type testImage struct {
	manifest []byte
	config   []byte
	layers   [][]byte
	desc     ocispec.Descriptor
	m        ocispec.Manifest
}

func makeImage(t testing.TB, layers ...string) testImage {
	t.Helper()
	im := testImage{config: []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)}
	im.m.SchemaVersion = 2
	im.m.MediaType = ocispec.MediaTypeImageManifest
	im.m.Config = describe(ocispec.MediaTypeImageConfig, im.config)
	for _, l := range layers {
		im.layers = append(im.layers, []byte(l))
		im.m.Layers = append(im.m.Layers, describe(ocispec.MediaTypeImageLayer, []byte(l)))
	}
	var err error
	if im.manifest, err = json.Marshal(im.m); err != nil {
		t.Fatal(err)
	}
	im.desc = describe(ocispec.MediaTypeImageManifest, im.manifest)
	return im
}

func describe(mt string, b []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mt, Digest: digest.FromBytes(b), Size: int64(len(b))}
}

func mustRef(t testing.TB, s string) Reference {
	t.Helper()
	ref, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// testClient never really waits, and is closed with the test.
func testClient(t testing.TB, o Options) *Client {
	t.Helper()
	if o.Sleep == nil {
		o.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	}
	if o.TempDir == "" {
		o.TempDir = t.TempDir()
	}
	if o.RegistriesConf == "" {
		o.RegistriesConf = filepath.Join(t.TempDir(), "registries.conf")
		if err := os.WriteFile(o.RegistriesConf, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// publish builds and publishes an image; the stage must leave nothing behind.
func publish(t testing.TB, c *Client, to string, im testImage) error {
	t.Helper()
	s, err := c.NewStage(t.Context(), mustRef(t, to))
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(s.work.Path); !isNotExist(err) {
			t.Errorf("stage is still there: %v", err)
		}
	}()
	for _, b := range append([][]byte{im.config}, im.layers...) {
		putBytes(t, s, b)
	}
	d, err := s.Publish(t.Context(), ocispec.MediaTypeImageManifest, im.manifest)
	if err == nil && d.Digest != im.desc.Digest {
		t.Errorf("published %s, want %s", d.Digest, im.desc.Digest)
	}
	return err
}

func putBytes(t testing.TB, s *Stage, b []byte) {
	t.Helper()
	d, err := s.PutBlob(t.Context(), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest != digest.FromBytes(b) || d.Size != int64(len(b)) {
		t.Fatalf("PutBlob says %v", d)
	}
}

// checkImage reads the image back, wholly.
func checkImage(t testing.TB, c *Client, from string, im testImage) {
	t.Helper()
	src, err := c.Source(t.Context(), mustRef(t, from))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d, err := src.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest != im.desc.Digest || d.MediaType != im.desc.MediaType || d.Size != im.desc.Size {
		t.Fatalf("%s resolves to %v, want %v", from, d, im.desc)
	}
	raw, mt, err := src.Manifest(t.Context(), d)
	if err != nil || string(raw) != string(im.manifest) || mt != im.desc.MediaType {
		t.Fatalf("manifest of %s: %q %q %v", from, raw, mt, err)
	}
	for i, d := range append([]ocispec.Descriptor{im.m.Config}, im.m.Layers...) {
		b, err := readBlob(t.Context(), src, d)
		if err != nil {
			t.Fatalf("blob %d of %s: %v", i, from, err)
		}
		if digest.FromBytes(b) != d.Digest {
			t.Fatalf("blob %d of %s is wrong and nobody noticed", i, from)
		}
	}
}

func readBlob(ctx context.Context, src Source, d ocispec.Descriptor) ([]byte, error) {
	r, err := src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func wantRefusal(t testing.TB, err error, rule string) {
	t.Helper()
	var r *spec.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v (%T), want a refusal", err, err)
	}
	if rule != "" && r.Rule != rule {
		t.Fatalf("refused by rule %q, want %q: %v", r.Rule, rule, err)
	}
	if strings.ContainsAny(err.Error(), "\n\x00\x1b") {
		t.Fatalf("message is not one clean line: %q", err)
	}
}

func wantNotFound(t testing.TB, err error) {
	t.Helper()
	var nf *NotFoundError
	if !errors.As(err, &nf) {
		t.Fatalf("got %v, want a NotFoundError", err)
	}
}
