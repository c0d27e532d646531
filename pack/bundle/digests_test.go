package bundle

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/opencontainers/go-digest"
)

// TestLongDigest: what is attached to an image known by sha512 comes with it, is found
// again, and goes when it is gone, though such a digest does not fit into a tag.
func TestLongDigest(t *testing.T) {
	for _, api := range []bool{false, true} {
		s := newShelf(t)
		s.api = api
		im := s.image(nil, "kernel")
		long := digest.SHA512.FromBytes(s.content[im.Digest])
		s.content[long], s.types[long] = s.content[im.Digest], im.MediaType
		im.Digest = long
		note := s.image(&im, "note")
		s.tag("one:"+transport.AttachmentTag(long, "sig"), s.image(nil, "signature"))
		if !api {
			s.tag("one:"+transport.AttachmentTag(long, ""), s.index(note))
		}
		dst := layout(filepath.Join(t.TempDir(), "b"))
		names := []string{"one@" + long.String()}
		if _, err := Create(t.Context(), testClient(t), dst, refs(t, s, names), Options{}); err != nil {
			t.Fatal(err)
		}
		if r := verified(t, dst); len(r.Findings) != 0 {
			t.Errorf("%+v", r)
		}
		b, err := transport.OpenBundle(dst)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		src, err := b.Source(s.ref(t, names[0]))
		if err != nil {
			t.Fatal(err)
		}
		if found, err := src.Referrers(t.Context(), long, ""); err != nil || len(found) != 1 || found[0].Digest != note.Digest {
			t.Errorf("referrers %v, %v", found, err)
		}
		if _, ok, err := src.Attached(t.Context(), long, "sig"); err != nil || !ok {
			t.Errorf("signature: %v, %v", ok, err)
		}

		delete(s.tags, "one:"+transport.AttachmentTag(long, "sig"))
		if _, err := Add(t.Context(), testClient(t), dst, refs(t, s, names), Options{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(files(t, dst.Name)["index.json"], ".sig") {
			t.Error("a signature stays that was taken away")
		}
	}
}
