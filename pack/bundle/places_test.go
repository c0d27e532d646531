package bundle

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestPlacesOfOneRepository has a repository in its registry and in a bundle, which
// know different things of one image: all of it comes along, whoever is asked first.
func TestPlacesOfOneRepository(t *testing.T) {
	s := newShelf(t)
	s.api = true
	im := s.image(nil, "kernel")
	s.tag("one:v", im)
	s.tag("one:latest", im)
	c, old := testClient(t), layout(filepath.Join(t.TempDir(), "old"))
	notes := []digest.Digest{s.image(&im, "a note of then").Digest}
	s.tag("one:"+transport.AttachmentTag(im.Digest, "sbom"), s.image(nil, "what was in it"))
	if _, err := Create(t.Context(), c, old, refs(t, s, []string{"one:v"}), Options{}); err != nil {
		t.Fatal(err)
	}
	delete(s.referrers, im.Digest)
	delete(s.tags, "one:"+transport.AttachmentTag(im.Digest, "sbom"))
	notes = append(notes, s.image(&im, "a note of now").Digest)
	s.tag("one:"+transport.AttachmentTag(im.Digest, "sig"), s.image(nil, "signature"))
	both := []transport.Reference{old, s.ref(t, "one:latest")}
	var want map[string]string
	for range 2 {
		slices.Reverse(both)
		dst := layout(filepath.Join(t.TempDir(), "both"))
		if _, err := Create(t.Context(), c, dst, both, Options{}); err != nil {
			t.Fatal(err)
		}
		got := files(t, dst.Name)
		if want == nil {
			want = got
		}
		sameFiles(t, got, want)
		for _, d := range notes {
			if _, ok := got["blobs/sha256/"+d.Encoded()]; !ok {
				t.Errorf("note %s did not come along", d)
			}
		}
		for _, suffix := range []string{"sig", "sbom", ""} {
			if !strings.Contains(got["index.json"], `one:`+transport.AttachmentTag(im.Digest, suffix)+`"`) {
				t.Errorf("%q did not come along", suffix)
			}
		}
		if r := verified(t, dst); len(r.Findings) != 0 {
			t.Errorf("%+v", r)
		}
	}

	// One companion tag cannot be two things, as no tag can.
	s.tag("one:"+transport.AttachmentTag(im.Digest, "sbom"), s.image(nil, "what is in it"))
	for range 2 {
		slices.Reverse(both)
		_, err := Create(t.Context(), c, layout(filepath.Join(t.TempDir(), "both")), both, Options{})
		var p *problem
		if !errors.As(err, &p) || p.ExitCode() != 2 || !strings.Contains(p.Hint(), "bundle add") {
			t.Errorf("two under one tag: %v", err)
		}
	}
	// As the hint says.
	dst := layout(filepath.Join(t.TempDir(), "both"))
	for i, ref := range []transport.Reference{old, s.ref(t, "one:latest")} {
		do := Add
		if i == 0 {
			do = Create
		}
		if _, err := do(t.Context(), c, dst, []transport.Reference{ref}, Options{}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := transport.OpenBundle(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	name := s.host() + "/one:" + transport.AttachmentTag(im.Digest, "sbom")
	now := s.tags["one:"+transport.AttachmentTag(im.Digest, "sbom")]
	if !slices.ContainsFunc(b.Entries(), func(e ocispec.Descriptor) bool { return entryName(e) == name && e.Digest == now }) {
		t.Errorf("%q is not %s", name, now)
	}
}
