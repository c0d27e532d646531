package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport/httpclient"
	"github.com/nbpack/nbpack/spec"
)

// bundleOf writes a layout whose images have the names of their repositories.
func bundleOf(t testing.TB, images map[string]testImage) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	c := testClient(t, Options{})
	for name, im := range images {
		if err := publish(t, c, "oci:"+dir+":"+name, im); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBundleNames(t *testing.T) {
	const hex = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for name, want := range map[string]bool{
		"registry.example/a:v": true, "registry.example:5000/a/b:v": true, "registry.example/a" + hex: true,
		"registry.example/a:v" + hex: true, "localhost/a:v": true, "registry.example/a__b:v.-_": true,
		"registry.example/a": false, "a:v": false, "": false, "v": false, "docker://registry.example/a:v": false,
		"oci:dir:v": false, "registry.example/A:v": false, "registry.example/a:v@sha256:00": false,
	} {
		ref, err := ParseBundleName(name)
		if (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil && (BundleName(ref) != name || ref.Transport != Docker) {
			t.Errorf("%q became %+v", name, ref)
		}
	}
}

// TestParseBundle: what a bundle is not is named, but no password in it.
func TestParseBundle(t *testing.T) {
	for name, want := range map[string]string{
		"oci:d": "", "oci-archive:f": "", "oci:d:v": "is one image", "dir:d": "is no bundle", "registry.example/a:v": "is no bundle",
		"docker://me:secret@registry.example/a:v": `"docker://…@registry.example/a:v" is no bundle`,
	} {
		_, err := ParseBundle(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestBundleSource reads images from a bundle by the names that they have in
// registries, and nothing else is asked.
func TestBundleSource(t *testing.T) {
	one, two, other := makeImage(t, "one"), makeImage(t, "two"), makeImage(t, "other")
	pinned := "registry.example/a:pinned@" + two.desc.Digest.String()
	dir := bundleOf(t, map[string]testImage{"registry.example/a:v": one, pinned: two, "registry.example/b:v": other})
	archive := filepath.Join(t.TempDir(), "bundle.tar")
	tarOf(t, dir, archive)
	for _, place := range []string{"oci:" + dir, "oci-archive:" + archive} {
		b, err := OpenBundle(mustRef(t, place))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		c := testClient(t, Options{From: b})
		for ref, want := range map[string]digest.Digest{
			"registry.example/a:v":                                  one.desc.Digest,
			"docker://registry.example/a:v":                         one.desc.Digest,
			"registry.example/a:gone@" + one.desc.Digest.String():   one.desc.Digest,
			"registry.example/a:pinned":                             two.desc.Digest,
			pinned:                                                  two.desc.Digest,
			"registry.example/a@" + two.desc.Digest.String():        two.desc.Digest,
			"registry.example/b@" + one.desc.Digest.String():        one.desc.Digest, // content proves itself
			"registry.example/a":                                    "",
			"registry.example/c:v":                                  "",
			"registry.example/c@" + one.desc.Digest.String():        "",
			"registry.example/a@" + digest.FromString("x").String(): "",
		} {
			src, err := c.Source(t.Context(), mustRef(t, ref))
			if err != nil {
				t.Fatal(err)
			}
			d, err := src.Resolve(t.Context())
			var absent *NotFoundError
			if want == "" && !errors.As(err, &absent) || want != "" && (err != nil || d.Digest != want) {
				t.Errorf("%s: %q gives %s, %v", place, ref, d.Digest, err)
			}
			if want == "" {
				continue
			}
			body, mt, err := src.Manifest(t.Context(), d)
			if err != nil || mt != ocispec.MediaTypeImageManifest {
				t.Fatalf("%s: %q: %v", place, ref, err)
			}
			m, err := spec.ParseManifest(mt, body)
			if err != nil {
				t.Fatal(err)
			}
			blob, err := src.Blob(t.Context(), m.Layers[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(blob); err != nil {
				t.Error(err)
			}
			_ = blob.Close()
			_ = src.Close()
		}
		if tags, err := c.Tags(t.Context(), mustRef(t, "registry.example/a:v")); err != nil || strings.Join(tags, " ") != "pinned v" {
			t.Errorf("%s: tags %q, %v", place, tags, err)
		}
		if _, err := c.Repository(t.Context(), mustRef(t, "registry.example/a:v")); err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry.example/v2/", nil)
		if _, err := c.http.Do(req, httpclient.Rules{}); err == nil || !strings.Contains(err.Error(), "not asked") {
			t.Errorf("%s: a request: %v", place, err)
		}
	}
}

// TestBundleAttachments finds what is attached to an image of one repository, by
// the names that a bundle and a plain layout give it.
func TestBundleAttachments(t *testing.T) {
	subject := makeImage(t, "subject")
	sig, far := makeImage(t, "signature"), makeImage(t, "of another repository")
	list := ocispec.Index{MediaType: ocispec.MediaTypeImageIndex}
	list.SchemaVersion = 2
	entry := sig.desc
	entry.ArtifactType = signatureType
	list.Manifests = []ocispec.Descriptor{entry}
	tag := AttachmentTag(subject.desc.Digest, "")
	for _, prefix := range []string{"registry.example/a:", ""} {
		dir := bundleOf(t, map[string]testImage{"registry.example/a:v": subject, prefix + tag + ".sig": sig, "registry.example/b:" + tag + ".sig": far})
		r := openRepository(t, testClient(t, Options{}), "oci:"+dir)
		body, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Put(t.Context(), prefix+tag, ocispec.MediaTypeImageIndex, body, PutOptions{}); err != nil {
			t.Fatal(err)
		}
		b, err := OpenBundle(mustRef(t, "oci:"+dir))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		inBundle, err := b.Source(mustRef(t, "registry.example/a:v"))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := testClient(t, Options{}).Source(t.Context(), mustRef(t, "oci:"+dir+":registry.example/a:v"))
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		inLayout, err := Attachments(plain)
		if err != nil {
			t.Fatal(err)
		}
		for who, src := range map[string]AttachmentSource{"bundle": inBundle, "layout": inLayout} {
			for kind, want := range map[string]int{"": 1, signatureType: 1, "application/x-other": 0} {
				if found, err := src.Referrers(t.Context(), subject.desc.Digest, kind); err != nil || len(found) != want || want == 1 && found[0].Digest != sig.desc.Digest {
					t.Errorf("%s, %q: referrers of type %q: %v, %v", who, prefix, kind, found, err)
				}
			}
			if d, ok, err := src.Attached(t.Context(), subject.desc.Digest, "sig"); err != nil || !ok || d.Digest != sig.desc.Digest {
				t.Errorf("%s, %q: signature %v %v %v", who, prefix, d, ok, err)
			}
			if _, ok, err := src.Attached(t.Context(), subject.desc.Digest, "att"); err != nil || ok {
				t.Errorf("%s, %q: an attestation: %v %v", who, prefix, ok, err)
			}
		}
	}
}

// TestAttachedTwice: of two signatures under one name none is the signature, wherever
// they lie; the same one twice is.
func TestAttachedTwice(t *testing.T) {
	subject, sig, other := makeImage(t, "subject"), makeImage(t, "signature"), makeImage(t, "another")
	name := "registry.example/a:" + AttachmentTag(subject.desc.Digest, "sig")
	for _, again := range []ocispec.Descriptor{sig.desc, other.desc} {
		dir := bundleOf(t, map[string]testImage{"registry.example/a:v": subject, name: sig, "registry.example/x:v": other})
		file := filepath.Join(dir, ocispec.ImageIndexFile)
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var idx ocispec.Index
		if err := json.Unmarshal(body, &idx); err != nil {
			t.Fatal(err)
		}
		again.Annotations = map[string]string{ocispec.AnnotationRefName: name}
		idx.Manifests = append(idx.Manifests, again)
		if body, err = json.Marshal(idx); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(body))
		b, err := OpenBundle(mustRef(t, "oci:"+dir))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		inBundle, err := b.Source(mustRef(t, "registry.example/a:v"))
		if err != nil {
			t.Fatal(err)
		}
		inLayout, err := Attachments(openSource(t, testClient(t, Options{}), "oci:"+dir+":registry.example/a:v"))
		if err != nil {
			t.Fatal(err)
		}
		for who, src := range map[string]AttachmentSource{"bundle": inBundle, "layout": inLayout} {
			d, found, err := src.Attached(t.Context(), subject.desc.Digest, "sig")
			ok := again.Digest == sig.desc.Digest
			if found != ok || (err == nil) != ok || ok && d.Digest != sig.desc.Digest {
				t.Errorf("%s, again %s: %v %v %v", who, again.Digest, d, found, err)
			}
		}
	}
}

// TestBundleTarget tells where a bundle can be written.
func TestBundleTarget(t *testing.T) {
	im := makeImage(t, "x")
	named := bundleOf(t, map[string]testImage{"registry.example/a:v": im})
	plain := bundleOf(t, map[string]testImage{"v": im})
	files, empty := t.TempDir(), t.TempDir()
	write(t, filepath.Join(files, "notes"), "mine")
	write(t, filepath.Join(mkdir(t, empty, ocilayout.BundleWork), "sha256-x"), "left over")
	write(t, filepath.Join(files, "half.tar"), "")
	for place, want := range map[string]string{
		"oci:" + named: "bundle", "oci:" + plain: "error", "oci:" + files: "error", "oci:" + empty: "nothing",
		"oci:" + filepath.Join(empty, "none"): "nothing", "oci-archive:" + filepath.Join(files, "none"): "nothing",
		"oci-archive:" + filepath.Join(files, "notes"): "error", "oci-archive:" + filepath.Join(files, "half.tar"): "nothing",
		"oci:" + named + ":registry.example/a:v": "error", "dir:" + named: "error", "registry.example/a:v": "error",
	} {
		b, err := OpenBundleTarget(mustRef(t, place))
		got := map[bool]string{true: "nothing", false: "bundle"}[b == nil]
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", place, got, err, want)
		}
		if b != nil {
			list, err := b.Files()
			if err != nil || len(list) != 5 || list[3].Name != ocispec.ImageIndexFile {
				t.Errorf("files %v, %v", list, err)
			}
			if gone := (ocispec.Descriptor{Digest: im.desc.Digest, Size: 1}); !b.Has(im.desc) || b.Has(gone) || b.Has(ocispec.Descriptor{Digest: "x"}) {
				t.Error("it does not know what it has")
			}
			_ = b.Close()
		}
	}
}

// tarOf packs a layout with the function that bundles use.
func tarOf(t testing.TB, dir, archive string) {
	t.Helper()
	f, err := ocilayout.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := f.List()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"blobs/"}
	for _, l := range list {
		names = append(names, l.Name)
	}
	if err := ocilayout.ReplaceArchive(t.Context(), archive, archive+".tmp", names, f.Open); err != nil {
		t.Fatal(fmt.Errorf("pack: %w", err))
	}
}
