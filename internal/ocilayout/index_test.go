package ocilayout

import (
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestBlobName(t *testing.T) {
	for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		d := alg.FromString("x")
		if got, ok := ParseBlobName(BlobName(d)); !ok || got != d {
			t.Errorf("%s is read as %q", BlobName(d), got)
		}
	}
	for _, name := range []string{"", "blobs", "blobs/sha256", "blobs/sha256/", "blobs/sha256/../x", "sha256/" + hex64, "blobs/sha256/" + hex64 + "/x", "blobs/md5/d41d8cd98f00b204e9800998ecf8427e"} {
		if d, ok := ParseBlobName(name); ok {
			t.Errorf("%q is blob %q", name, d)
		}
	}
}
