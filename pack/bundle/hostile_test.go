package bundle

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/ocilayout"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// TestVerifyFinds changes a good bundle in one way, and tells what is found.
func TestVerifyFinds(t *testing.T) {
	s, names := stocked(t, true)
	c := testClient(t)
	layer := func(text string) string { return "blobs/sha256/" + digest.FromString(text).Encoded() }
	index := func(old, new string) func(dir string) {
		return func(dir string) {
			name := filepath.Join(dir, ocispec.ImageIndexFile)
			b, err := os.ReadFile(name)
			if err != nil || !strings.Contains(string(b), old) {
				t.Fatalf("%v: %q is not in %s", err, old, b)
			}
			rewrite(t, name, strings.Replace(string(b), old, new, 1))
		}
	}
	image := s.tags["two/x:v"]
	for name, tt := range map[string]struct {
		change func(dir string)
		want   []string
	}{
		"nothing": {func(string) {}, nil},
		"a layer is missing": {func(dir string) { remove(t, dir, layer("kernel a")) },
			[]string{"missing " + digest.FromString("kernel a").String()}},
		"a layer is damaged": {func(dir string) { rewrite(t, filepath.Join(dir, layer("kernel a")), "kernel A") },
			[]string{"damaged " + digest.FromString("kernel a").String()}},
		"a layer is cut off": {func(dir string) { rewrite(t, filepath.Join(dir, layer("kernel a")), "kern") },
			[]string{"damaged " + digest.FromString("kernel a").String()}},
		"a layer is a link": {func(dir string) {
			rewrite(t, filepath.Join(dir, "there"), "kernel a")
			remove(t, dir, layer("kernel a"))
			link(t, "../../there", filepath.Join(dir, layer("kernel a")))
		}, []string{"damaged " + digest.FromString("kernel a").String(), "extra there"}},
		"a manifest is missing": {func(dir string) { remove(t, dir, ocilayout.BlobName(image)) }, []string{"missing " + image.String()}},
		"a manifest is damaged": {func(dir string) { rewrite(t, filepath.Join(dir, ocilayout.BlobName(image)), "{}") }, []string{"damaged " + image.String()}},
		"more blobs":            {func(dir string) { rewrite(t, filepath.Join(dir, layer("more")), "more") }, []string{"extra " + layer("more")}},
		"more files":            {func(dir string) { rewrite(t, filepath.Join(dir, "blobs/readme"), "") }, []string{"extra blobs/readme"}},
		"work of another run": {func(dir string) {
			if err := os.MkdirAll(filepath.Join(dir, ocilayout.BundleWork), 0o755); err != nil {
				t.Fatal(err)
			}
			rewrite(t, filepath.Join(dir, ocilayout.BundleWork, "x"), "")
		}, nil},
		"a name without a host": {index(s.host()+"/two/x:v", "two/x:v"), []string{`malformed entry "two/x:v"`, "extra"}},
		"a name with a way out": {index(s.host()+"/two/x:v", "../../x:v"), []string{`malformed entry "../../x:v"`, "extra"}},
		"two of a name":         {index(s.host()+"/two/x:v", s.host()+"/one:v"), []string{"malformed entry", "extra"}},
		"no name":               {index(ocispec.AnnotationRefName+`":"`+s.host()+"/two/x:v", "example.other\":\""), []string{"malformed entry 7", "extra"}},
		"odd platforms":         {index(`two/x:v"`, `two/x:v","`+spec.AnnotationBundlePlatforms+`":"linux/??"`), []string{"damaged " + image.String()}},
		"another size":          {index(fmt.Sprintf(`%s","size":`, image), fmt.Sprintf(`%s","size":1`, image)), []string{"damaged " + image.String()}},
		"a digest that is a path": {index(image.String(), "sha256:../../../../../../etc/passwd"),
			[]string{"malformed entry", "extra"}},
		"attached to nothing": {index("one:"+transport.AttachmentTag(s.tags["one:v"], "sig"), "one:"+transport.AttachmentTag(digest.FromString("x"), "sig")),
			[]string{"extra " + s.host() + "/one:" + transport.AttachmentTag(digest.FromString("x"), "sig"), "extra blobs"}},
		"a mark that is none": {index(`"manifests":[`, `"manifests":[{"mediaType":"`+ocispec.MediaTypeImageManifest+`","artifactType":"`+OmittedType+`","digest":"`+digest.FromString("x").String()+`","size":1},`),
			[]string{"missing " + digest.FromString("x").String()}},
	} {
		t.Run(name, func(t *testing.T) {
			dst := layout(filepath.Join(t.TempDir(), "b"))
			if _, err := Create(t.Context(), c, dst, refs(t, s, names), Options{}); err != nil {
				t.Fatal(err)
			}
			tt.change(dst.Name)
			r := verified(t, dst)
			var got []string
			for _, f := range r.Findings {
				got = append(got, f.Kind+" "+f.What)
			}
			for _, w := range tt.want {
				if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
					t.Errorf("%q is not among %q", w, got)
				}
			}
			if tt.want == nil && len(got) > 0 || len(got) > 0 && !slices.Contains(tt.want, "extra") && !slices.Contains(tt.want, "extra blobs") && len(got) != len(tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

func rewrite(t testing.TB, name, content string) {
	t.Helper()
	_ = os.Remove(name)
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestSourcesRefused are sources that lie, or that do not fit together. The bundle
// stays as it was.
func TestSourcesRefused(t *testing.T) {
	c := testClient(t)
	for name, tt := range map[string]struct {
		source func(s *shelf) []transport.Reference
		code   int
	}{
		"another content": {func(s *shelf) []transport.Reference {
			s.tag("one:new", s.image(nil, "honest", "more"))
			s.content[digest.FromString("honest")] = []byte("hOnest")
			return []transport.Reference{s.ref(t, "one:new")}
		}, 3},
		"too long": {func(s *shelf) []transport.Reference {
			s.tag("one:new", s.image(nil, "honest"))
			s.content[digest.FromString("honest")] = []byte("honest and more")
			return []transport.Reference{s.ref(t, "one:new")}
		}, 3},
		"a missing layer": {func(s *shelf) []transport.Reference {
			s.tag("one:new", s.image(nil, "lost"))
			delete(s.content, digest.FromString("lost"))
			return []transport.Reference{s.ref(t, "one:new")}
		}, 4},
		"a missing entry": {func(s *shelf) []transport.Reference {
			lost := s.image(nil, "lost")
			s.tag("one:new", s.index(s.image(nil, "kernel a", "common"), lost))
			delete(s.types, lost.Digest)
			return []transport.Reference{s.ref(t, "one:new")}
		}, 4},
		"a deep index": {func(s *shelf) []transport.Reference {
			d := s.image(nil, "kernel a", "common")
			for range spec.MaxIndexDepth + 1 {
				d = s.index(d)
			}
			s.tag("one:new", d)
			return []transport.Reference{s.ref(t, "one:new")}
		}, 3},
		"notes on notes without an end": {func(s *shelf) []transport.Reference {
			d := s.image(nil, "kernel of its own")
			s.tag("one:new", d)
			for i := range maxAttached + 1 {
				d = s.image(&d, fmt.Sprint("note ", i))
			}
			return []transport.Reference{s.ref(t, "one:new")}
		}, 3},
		"two of a name": {func(s *shelf) []transport.Reference {
			s.tag("one:new", s.image(nil, "first"))
			old := layout(filepath.Join(t.TempDir(), "old"))
			if _, err := Create(t.Context(), c, old, []transport.Reference{s.ref(t, "one:new")}, Options{}); err != nil {
				t.Fatal(err)
			}
			s.tag("one:new", s.image(nil, "second"))
			return []transport.Reference{s.ref(t, "one:new"), old}
		}, 2},
		"a signature as an image": {func(s *shelf) []transport.Reference {
			return []transport.Reference{s.ref(t, "one:"+transport.AttachmentTag(s.tags["one:v"], "sig"))}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, names := stocked(t, true)
			dst := layout(filepath.Join(t.TempDir(), "b"))
			if _, err := Create(t.Context(), c, dst, refs(t, s, names), Options{}); err != nil {
				t.Fatal(err)
			}
			before := files(t, dst.Name)
			_, err := Add(t.Context(), c, dst, tt.source(s), Options{})
			var coded interface{ ExitCode() int }
			if !errors.As(err, &coded) || coded.ExitCode() != tt.code {
				t.Errorf("got %v, want exit code %d", err, tt.code)
			}
			after := files(t, dst.Name)
			for name := range after {
				if strings.HasPrefix(name, ocilayout.BundleWork) {
					delete(after, name)
				}
			}
			sameFiles(t, after, before)
			// What is left does not harm the next run.
			if _, err := Add(t.Context(), c, dst, refs(t, s, names), Options{}); err != nil {
				t.Error(err)
			}
			sameFiles(t, files(t, dst.Name), before)
		})
	}
}

// TestOddLists are registries that do not know what they have: what they list is not
// there or refers to something else, or they have no list of tags.
func TestOddLists(t *testing.T) {
	s := newShelf(t)
	s.api = true
	a := s.image(nil, "kernel")
	s.tag("one:v", a)
	s.tag("one:"+transport.AttachmentTag(a.Digest, "sig"), s.image(nil, "signature"))
	s.image(&a, "note")
	other := s.image(nil, "other")
	gone := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("gone"), Size: 4}
	s.referrers[a.Digest] = append(s.referrers[a.Digest], other, gone)
	s.set(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/tags/list") {
			w.WriteHeader(405)
			return true
		}
		return false
	})
	var said []string
	dst := layout(filepath.Join(t.TempDir(), "b"))
	// One image, so nothing is said at the same time.
	o := Options{Log: func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) }}
	if _, err := Create(t.Context(), testClient(t), dst, refs(t, s, []string{"one:v"}), o); err != nil {
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
	src, err := b.Source(s.ref(t, "one:v"))
	if err != nil {
		t.Fatal(err)
	}
	if found, err := src.Referrers(t.Context(), a.Digest, ""); err != nil || len(found) != 1 {
		t.Errorf("referrers %v, %v", found, err)
	}
	if _, ok, err := src.Attached(t.Context(), a.Digest, "sig"); !ok || err != nil {
		t.Errorf("the signature is lost: %v", err)
	}
	for _, want := range []string{other.Digest.String() + " is listed", gone.Digest.String() + " is listed", "the usual tags"} {
		if !strings.Contains(strings.Join(said, "\n"), want) {
			t.Errorf("nothing was said of %q: %q", want, said)
		}
	}
}

// TestUnlikelyIndexes walks indexes that name the same thing over and over.
func TestUnlikelyIndexes(t *testing.T) {
	s := newShelf(t)
	d := s.image(nil, "kernel")
	for range spec.MaxIndexDepth {
		d = s.index(slices.Repeat([]ocispec.Descriptor{d}, 200)...)
	}
	s.tag("one:v", d)
	dst := layout(filepath.Join(t.TempDir(), "b"))
	if _, err := Create(t.Context(), testClient(t), dst, refs(t, s, []string{"one:v"}), Options{}); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, dst); len(r.Findings) != 0 {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, err := transport.OpenBundle(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := Verify(ctx, b, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled look: %v", err)
	}
}

func FuzzReadDigests(f *testing.F) {
	d := digest.FromString("x").String()
	for _, s := range []string{"", d, "# words\n\n" + d + "\n", d + " " + d, "sha256:\x00", strings.Repeat("a", 100000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		since, err := readDigests(strings.NewReader(s))
		if err != nil {
			return
		}
		for d := range since {
			if _, err := spec.ParseDigest(d.String()); err != nil || !strings.Contains(s, d.String()) {
				t.Errorf("%q gave %q", s, d)
			}
		}
	})
}
