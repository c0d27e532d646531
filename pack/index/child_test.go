package index

import (
	"testing"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestShortTag has builds of several versions share one architecture: the short
// tag is that of the version which the index is named after, else of the newest.
func TestShortTag(t *testing.T) {
	f := newFakeRepo(t)
	want := func(d ocispec.Descriptor) {
		t.Helper()
		if got := f.tags["v1-amd64"]; got != d.Digest {
			t.Errorf("v1-amd64 names %s, want %s", got, d.Digest)
		}
	}
	one := f.push("v1", "linux(x-1)/amd64", "one")
	add(t, f, "v1", one)
	want(one)
	two := f.push("v1", "linux(x-2)/amd64", "two")
	add(t, f, "v1", two)
	want(two)
	add(t, f, "v1", two)
	if _, err := remove(t, f, RemoveOptions{Digest: one.Digest}); err != nil {
		t.Fatal(err)
	}
	want(two)
	if _, err := remove(t, f, RemoveOptions{Digest: two.Digest}); err != nil {
		t.Fatal(err)
	}
	if m, err := spec.ParseManifest(ocispec.MediaTypeImageManifest, f.body("v1-amd64")); err != nil || m.ArtifactType != spec.TombstoneType {
		t.Errorf("v1-amd64 names %s", f.body("v1-amd64"))
	}
	add(t, f, "v1", f.push("v1", "linux(x-1)/amd64", "one"))
	want(one)
	plain := f.push("v1", "linux(v1)/amd64", "plain")
	add(t, f, "v1", plain)
	want(plain)
	add(t, f, "v1", f.push("v1", "linux(x-2)/amd64", "two"))
	want(plain)
	if n := len(entriesOf(t, f.body("v1"))); n != 3 {
		t.Errorf("%d entries", n)
	}
}

// TestParseChild lists what counts as a child of the index v1.
func TestParseChild(t *testing.T) {
	entry := short(t, "c amd64 1")
	index := func(tag string, entries ...ocispec.Descriptor) []byte {
		x := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: entries, Annotations: map[string]string{spec.AnnotationIndexTag: tag}}
		x.SchemaVersion = 2
		return mustJSON(t, x)
	}
	grave, err := tombstone("v1", entry, defaultKeys(), []ocispec.Descriptor{entry})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, mediaType string
		body            []byte
		child, refused  bool
	}{
		{"manifest", ocispec.MediaTypeImageManifest, childOf(t, "v1", "linux/amd64", "x"), true, false},
		{"manifest of another index", ocispec.MediaTypeImageManifest, childOf(t, "v", "linux/amd64", "x"), false, false},
		{"manifest of none", ocispec.MediaTypeImageManifest, childOf(t, "", "linux/amd64", "x"), false, false},
		{"manifest without a platform", ocispec.MediaTypeImageManifest, childOf(t, "v1", "", "x"), false, true},
		{"index", ocispec.MediaTypeImageIndex, index("v1", entry), true, false},
		{"index of another index", ocispec.MediaTypeImageIndex, index("v2", entry), false, false},
		{"index of two", ocispec.MediaTypeImageIndex, index("v1", entry, entry), false, true},
		{"index of nothing", ocispec.MediaTypeImageIndex, index("v1"), false, true},
		{"tombstone", ocispec.MediaTypeImageManifest, grave, true, false},
		{"damaged", ocispec.MediaTypeImageManifest, []byte("{"), false, true},
	} {
		c, err := parseChild("v1", ocispec.Descriptor{MediaType: test.mediaType, Digest: digest.FromBytes(test.body), Size: int64(len(test.body))}, test.body)
		if (c != nil && err == nil) != test.child || (err != nil) != test.refused {
			t.Errorf("%s: %+v, %v", test.name, c, err)
		}
	}
}

// FuzzParseChild: whatever stands under a tag, it is a child with a descriptor that
// can be used, or none.
func FuzzParseChild(f *testing.F) {
	f.Add(true, []byte(`{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"`+digest.FromString("x").String()+`","size":1}],"annotations":{"org.pulpproject.netboot.index.tag":"v1"}}`))
	f.Add(false, []byte(`{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"`+digest.FromString("x").String()+`","size":1},"layers":[],"annotations":{"org.pulpproject.netboot.index.tag":"v1","org.pulpproject.netboot.index.platform":"linux(x-1)/arm/v7"}}`))
	f.Fuzz(func(t *testing.T, list bool, body []byte) {
		d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(body), Size: int64(len(body))}
		if list {
			d.MediaType = ocispec.MediaTypeImageIndex
		}
		c, err := parseChild("v1", d, body)
		if err != nil || c == nil || c.tomb {
			return
		}
		if err := spec.CheckDescriptor(c.entry); err != nil {
			t.Error(err)
		}
		tag, err := childTag("v1", c.entry, c.keys)
		if err == nil && (len(tag) > maxTag || tag[:3] != "v1-") {
			t.Errorf("child tag %q", tag)
		}
	})
}
