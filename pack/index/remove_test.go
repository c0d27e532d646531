package index

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func remove(t *testing.T, f Repository, o RemoveOptions) (*Result, error) {
	t.Helper()
	o.Options = quick(t)
	return Remove(t.Context(), f, "v1", o)
}

func text(s string) *string { return &s }

func platform(t *testing.T, s string) spec.Platform {
	t.Helper()
	p, err := spec.ParseIndexPlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// mixed is an index with foreign entries and two children.
func mixed(t *testing.T) *fakeRepo {
	f := newFakeRepo(t)
	f.set("v1", ocispec.MediaTypeImageIndex, foreignIndex(t))
	for _, d := range entriesOf(t, foreignIndex(t)) {
		f.manifests[d.Digest] = fakeManifest{d.MediaType, []byte("{}")}
	}
	add(t, f, "v1", f.push("v1", "linux/amd64", "a"))
	add(t, f, "v1", f.push("v1", "linux(demo-1)/arm64", "b"))
	return f
}

func TestRemoveSelects(t *testing.T) {
	foreign := entriesOf(t, foreignIndex(t))
	for _, test := range []struct {
		name string
		o    RemoveOptions
		code int // 0: the digest is gone
		gone digest.Digest
	}{
		{name: "nothing said", code: 2},
		{name: "several of the platform", o: RemoveOptions{Platform: platform(t, "linux/amd64")}, code: 2},
		{name: "none of the platform", o: RemoveOptions{Platform: platform(t, "linux/s390x")}, code: 4},
		{name: "no such digest", o: RemoveOptions{Digest: digest.FromString("none")}, code: 4},
		{name: "another os.version", o: RemoveOptions{Platform: platform(t, "linux(demo-2)/arm64")}, code: 4},
		{name: "by digest", o: RemoveOptions{Digest: foreign[1].Digest}, gone: foreign[1].Digest},
		{name: "by platform, any os.version", o: RemoveOptions{Platform: platform(t, "linux/arm64")}, gone: digest.FromBytes(childOf(t, "v1", "linux(demo-1)/arm64", "b"))},
		{name: "by annotation", o: RemoveOptions{Platform: platform(t, "linux/amd64"), Annotations: map[string]string{"disktype": "netboot"}}, gone: digest.FromBytes(childOf(t, "v1", "linux/amd64", "a"))},
		{name: "by the lack of one", o: RemoveOptions{Platform: platform(t, "linux/amd64"), Annotations: map[string]string{"disktype": ""}}, gone: foreign[2].Digest},
		{name: "by artifactType", o: RemoveOptions{Platform: platform(t, "linux/amd64"), ArtifactType: text("application/vnd.example.disk")}, gone: foreign[3].Digest},
		{name: "by the lack of an artifactType", o: RemoveOptions{Platform: platform(t, "linux/amd64"), ArtifactType: text(""), Annotations: map[string]string{"disktype": ""}}, gone: foreign[2].Digest},
		{name: "of another os", o: RemoveOptions{Platform: platform(t, "gardenlinux(1592.1)/amd64"), Annotations: map[string]string{"cname": "kvm-amd64"}}, gone: foreign[1].Digest},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := mixed(t)
			before := f.body("v1")
			r, err := remove(t, f, test.o)
			if test.code != 0 {
				var coded interface{ ExitCode() int }
				if !errors.As(err, &coded) || coded.ExitCode() != test.code || !bytes.Equal(f.body("v1"), before) {
					t.Errorf("error %v, want exit code %d", err, test.code)
				}
				t.Log(err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Changes) != 1 || r.Changes[0].Action != Removed || r.Changes[0].Digest != test.gone || !r.Changed {
				t.Errorf("result %+v", r)
			}
			if n := len(entriesOf(t, f.body("v1"))); n != 5 || strings.Contains(string(f.body("v1")), test.gone.String()) {
				t.Errorf("%d entries: %s", n, f.body("v1"))
			}
			// The next writer leaves it at that.
			if r := add(t, f, "v1", f.push("v1", "linux/riscv64", "c")); len(r.Changes) != 1 {
				t.Errorf("the next run changed %+v", r.Changes)
			}
		})
	}
}

func TestTombstone(t *testing.T) {
	f := mixed(t)
	if _, err := remove(t, f, RemoveOptions{Digest: digest.FromBytes(childOf(t, "v1", "linux/amd64", "a"))}); err != nil {
		t.Fatal(err)
	}
	body := f.body("v1-amd64")
	m, err := spec.ParseManifest(ocispec.MediaTypeImageManifest, body)
	if err != nil {
		t.Fatal(err)
	}
	if m.ArtifactType != spec.TombstoneType || m.Annotations[spec.AnnotationIndexTag] != "v1" || m.Annotations[spec.AnnotationIndexPlatform] != "linux/amd64" {
		t.Errorf("tombstone %s", body)
	}
	// A build brings the platform back, over the tombstone.
	add(t, f, "v1", f.push("v1", "linux/amd64", "a"))
	if !strings.Contains(string(f.body("v1")), digest.FromBytes(childOf(t, "v1", "linux/amd64", "a")).String()) {
		t.Errorf("not added again: %s", f.body("v1"))
	}
}

// TestForeignEntryComesBack has a foreign tool add what nbpack removed: that
// stays, whoever writes the index next.
func TestForeignEntryComesBack(t *testing.T) {
	f := mixed(t)
	before := f.body("v1")
	gone := entriesOf(t, foreignIndex(t))[0].Digest
	if _, err := remove(t, f, RemoveOptions{Digest: gone}); err != nil {
		t.Fatal(err)
	}
	f.set("v1", ocispec.MediaTypeImageIndex, before)
	add(t, f, "v1", f.push("v1", "linux/riscv64", "c"))
	wantForeign(t, f.body("v1"))
}

// TestRemoveOfNewerChild removes an entry while a newer child of its identity is
// under the tag, but not in the index yet.
func TestRemoveOfNewerChild(t *testing.T) {
	f := mixed(t)
	d := f.push("v1", "linux/amd64", "newer")
	if _, err := remove(t, f, RemoveOptions{Digest: digest.FromBytes(childOf(t, "v1", "linux/amd64", "a"))}); err != nil {
		t.Fatal(err)
	}
	add(t, f, "v1", f.push("v1", "linux/riscv64", "c"))
	if strings.Contains(string(f.body("v1")), d.Digest.String()) {
		t.Errorf("the removed platform is back: %s", f.body("v1"))
	}
}

func TestRemoveFromNothing(t *testing.T) {
	f := newFakeRepo(t)
	_, err := remove(t, f, RemoveOptions{Digest: digest.FromString("x")})
	var none *missingError
	if !errors.As(err, &none) {
		t.Errorf("error %v", err)
	}
}

// TestVanishedContentIsNotPutBack: a registry would refuse such an index.
func TestVanishedContentIsNotPutBack(t *testing.T) {
	f := mixed(t)
	first := entriesOf(t, foreignIndex(t))[0].Digest
	looks := 0
	f.before = func(op string) error {
		if op != "tags" {
			return nil
		}
		if looks++; looks == 2 {
			f.mu.Lock()
			delete(f.manifests, first)
			f.mu.Unlock()
			doc, err := ociindex.Parse(f.body("v1"))
			if err == nil {
				doc, err = doc.Remove(0)
			}
			if err != nil {
				t.Error(err)
			}
			f.set("v1", ocispec.MediaTypeImageIndex, doc.Bytes())
		}
		return nil
	}
	add(t, f, "v1", f.push("v1", "linux/riscv64", "c"))
	if strings.Contains(string(f.body("v1")), first.String()) || len(entriesOf(t, f.body("v1"))) != 6 {
		t.Errorf("index %s", f.body("v1"))
	}
}
