package transport

import (
	"context"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestAttachmentTags(t *testing.T) {
	for _, algorithm := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512} {
		d := algorithm.FromString("x")
		list := algorithm.String() + "-" + d.Encoded()[:64]
		for _, suffix := range []string{"", "sig", "a.B_c-d", strings.Repeat("s", 56)} {
			tag := AttachmentTag(d, suffix)
			if want := strings.TrimSuffix(list+"."+suffix, "."); tag != want || len(tag) > 128 {
				t.Errorf("%s, %q: %q, want %q", d, suffix, tag, want)
			}
			for _, tag := range []string{tag, strings.Replace(tag, list, algorithm.String()+"-"+d.Encoded(), 1)} {
				if at, s, ok := AttachedTo(tag); !ok || at != list || s != suffix {
					t.Errorf("%q is read as %q, %q, %v", tag, at, s, ok)
				}
			}
		}
	}
	hex := strings.Repeat("a", 64)
	for _, tag := range []string{
		"", "v1", "sha256-", "sha256-" + hex[1:], "sha256-" + hex + "a", "sha512-" + hex + "a", "sha256-" + strings.ToUpper(hex), "sha256-" + hex + ".",
		"sha256-" + hex + "sig", "sha256-" + hex + ".a/b", "sha1-" + hex, "x-sha256-" + hex, "sha256:" + hex, "sha256-" + hex + "." + strings.Repeat("s", 57), "sha256-" + hex + "\n",
	} {
		if list, suffix, ok := AttachedTo(tag); ok || IsAttachment(tag) {
			t.Errorf("%q is attached to %q, %q", tag, list, suffix)
		}
	}
}

// TestReferrersLongDigest: what refers to a manifest known by sha512 is found, though
// such a digest does not fit into a tag.
func TestReferrersLongDigest(t *testing.T) {
	for name, ref := range attachPlaces(t) {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, insecure(Options{}))
			r := openRepository(t, c, ref)
			d, body := indexOf(t, "subject")
			if _, err := r.Put(t.Context(), "v1", d.MediaType, body, PutOptions{}); err != nil {
				t.Fatal(err)
			}
			d.Digest = digest.SHA512.FromBytes(body)
			src, a := referring(t, d, 1)
			if err := r.PutReferrer(t.Context(), src, a); err != nil {
				t.Fatal(err)
			}
			from, err := Attachments(openSource(t, c, ref+":v1"))
			if err != nil {
				t.Fatal(err)
			}
			for who, lister := range map[string]interface {
				Referrers(context.Context, digest.Digest, string) ([]ocispec.Descriptor, error)
			}{"repository": r, "source": from} {
				if found, err := lister.Referrers(t.Context(), d.Digest, ""); err != nil || len(found) != 1 || found[0].Digest != a.Digest {
					t.Errorf("%s: %v, %v", who, found, err)
				}
			}
		})
	}
}
