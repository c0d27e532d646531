package relocate

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/testserver"
	"github.com/nbpack/nbpack/internal/transport"
)

// TestFromBundle copies from a layout of many repositories, all of it by the names in
// it, and signatures that lie beside the images.
func TestFromBundle(t *testing.T) {
	s := newStock(t)
	d, e := s.zoo(), s.image("e")
	sig, referrer := s.image("signature"), s.attached("sbom", e)
	list, bare, other := s.index(referrer), s.image("another signature"), s.image("something else")
	dir := t.TempDir()
	for id, b := range s.bytes {
		path := filepath.Join(dir, "blobs", id.Algorithm().String())
		if err := errors.Join(os.MkdirAll(path, 0o755), os.WriteFile(filepath.Join(path, id.Encoded()), b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	name := func(d ocispec.Descriptor, ref string) ocispec.Descriptor {
		d.Annotations = map[string]string{ocispec.AnnotationRefName: ref}
		return d
	}
	top := newStock(t)
	index := top.index(name(d, "registry.example/zoo:v1"), name(e, "registry.example:5000/e:v2"),
		name(sig, "registry.example:5000/e:"+fallbackTag(e.Digest)+".sig"), name(list, "registry.example:5000/e:"+fallbackTag(e.Digest)), name(bare, fallbackTag(d.Digest)+".sig"),
		name(other, "registry.example:5000/e:"+fallbackTag(e.Digest)+".other"))
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "index.json"), top.bytes[index.Digest], 0o644),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)); err != nil {
		t.Fatal(err)
	}
	ref, err := transport.ParseReference("oci:" + dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := transport.OpenBundle(ref)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	images, err := BundleImages(b)
	if err != nil || len(images) != 2 {
		t.Fatalf("%v, %v", images, err)
	}
	for kind, to := range map[string]string{"plain": newHub(t, false).host(), "api": newHub(t, true).host(), "real": testserver.Registry(t, "")} {
		p, err := NewPlan(images, mapping(t, to, MD5))
		if err != nil {
			t.Fatal(err)
		}
		c := testClient(t, transport.Options{})
		o := Options{To: c, Open: func(_ context.Context, ref transport.Reference) (transport.AttachmentSource, error) {
			return b.Source(ref)
		}}
		if err := p.Run(t.Context(), o); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for i, want := range []ocispec.Descriptor{d, e} {
			s.same(to, strings.TrimPrefix(p.items[i].job.to.Name, to+"/"), p.items[i].job.to.Tag, want)
		}
		repo := strings.TrimPrefix(p.items[1].job.to.Name, to+"/")
		s.same(to, repo, fallbackTag(e.Digest)+".sig", sig)
		s.same(to, repo, fallbackTag(e.Digest)+".other", other)
		s.same(to, strings.TrimPrefix(p.items[0].job.to.Name, to+"/"), fallbackTag(d.Digest)+".sig", bare)
		if got := referrersOf(t, to, repo, e); !slices.Equal(got, digestsOf(referrer)) {
			t.Errorf("%s: referrers %q", kind, got)
		}
	}
}
