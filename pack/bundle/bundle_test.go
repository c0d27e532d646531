package bundle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
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
)

// stocked has an index under two tags, what is attached to it and its entries and to
// that, in both ways, and an image of another repository that shares a layer.
func stocked(t testing.TB, api bool) (*shelf, []string) {
	s := newShelf(t)
	s.api = api
	a, b := s.image(nil, "kernel a", "common"), s.image(nil, "kernel b", "common")
	index := s.index(a, b)
	other := s.image(nil, "kernel c", "common")
	for name, d := range map[string]ocispec.Descriptor{"one:v": index, "one:latest": index, "two/x:v": other} {
		s.tag(name, d)
	}
	note := s.image(&index, "note on the index")
	second := s.image(&index, "another note on the index")
	on := s.image(&note, "note on the note")
	child := s.image(&b, "note on an entry")
	for name, d := range map[string]ocispec.Descriptor{
		transport.AttachmentTag(index.Digest, "sig"): s.image(nil, "signature"),
		transport.AttachmentTag(b.Digest, "att"):     s.image(nil, "attestation"),
	} {
		s.tag("one:"+name, d)
	}
	if !api {
		for subject, list := range map[digest.Digest][]ocispec.Descriptor{index.Digest: {second, note}, note.Digest: {on}, b.Digest: {child}} {
			s.tag("one:"+transport.AttachmentTag(subject, ""), s.document(ocispec.MediaTypeImageIndex, ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: list}))
		}
	}
	return s, []string{"one:v", "one:latest", "two/x:v"}
}

func refs(t testing.TB, s *shelf, names []string) []transport.Reference {
	var list []transport.Reference
	for _, n := range names {
		list = append(list, s.ref(t, n))
	}
	return list
}

func layout(dir string) transport.Reference {
	return transport.Reference{Transport: transport.OCI, Name: dir}
}

// TestSameBytes makes one bundle in several ways: the order, the place, the number of
// runs and how the registry lists referrers do not matter.
func TestSameBytes(t *testing.T) {
	var want map[string]string
	for _, api := range []bool{true, false} {
		s, names := stocked(t, api)
		c := testClient(t)
		known := func(dir string) map[string]string {
			got := files(t, dir)
			for name, content := range got {
				// Each shelf has another port.
				got[name] = strings.ReplaceAll(content, s.host(), "registry.example")
			}
			return got
		}
		for i := range 4 {
			list := refs(t, s, names)
			rand.New(rand.NewSource(int64(i))).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			dir := filepath.Join(t.TempDir(), "new/bundle")
			if i%2 == 0 {
				if _, err := Create(t.Context(), c, layout(dir), list, Options{}); err != nil {
					t.Fatal(err)
				}
			} else {
				for n, ref := range list {
					do := Add
					if n == 0 {
						do = Create
					}
					if _, err := do(t.Context(), c, layout(dir), []transport.Reference{ref}, Options{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if want == nil {
				want = known(dir)
			}
			sameFiles(t, known(dir), want)
			r := verified(t, layout(dir))
			// 3 images and entries, their 2 indexes of referrers and that of a note,
			// 4 notes, a signature and an attestation.
			if r.Images != 3 || len(r.Findings) != 0 || r.Delta {
				t.Errorf("%+v", r)
			}
		}
	}
	attached := 0
	for name := range want {
		if strings.HasPrefix(name, "blobs/sha256/") && len(name) > 20 {
			attached++
		}
	}
	// Manifests: 3 images, 1 index, 4 notes, 2 companions, 3 lists; a config for each
	// image, note and companion; layers: 3 kernels, 1 common, 4 notes, 2 companions.
	if attached != 3+1+4+2+3+9+10 {
		t.Errorf("%d blobs", attached)
	}
}

// TestOnlyWhatIsMissing counts what a second run asks for.
func TestOnlyWhatIsMissing(t *testing.T) {
	s, names := stocked(t, true)
	c, dst := testClient(t), layout(filepath.Join(t.TempDir(), "b"))
	r, err := Create(t.Context(), c, dst, refs(t, s, names), Options{})
	if err != nil || r.Blobs.Fetched != 19 || r.Blobs.Kept != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := s.requests("GET blobs"); n != 19 {
		t.Errorf("%d blobs were asked for", n)
	}
	s.requests("GET manifests")
	before := files(t, dst.Name)
	r, err = Add(t.Context(), c, dst, refs(t, s, names), Options{})
	if err != nil || r.Blobs.Fetched != 0 || r.Blobs.Kept != 19 || s.requests("GET blobs") != 0 || s.requests("GET manifests") != 0 {
		t.Errorf("the same again: %+v, %v", r, err)
	}
	sameFiles(t, files(t, dst.Name), before)

	// A tag moves: one new layer and config are fetched, the old ones go.
	s.tag("two/x:v", s.image(nil, "kernel d", "common"))
	r, err = Add(t.Context(), c, dst, refs(t, s, names), Options{})
	if err != nil || r.Blobs.Fetched != 2 || s.requests("GET blobs") != 2 {
		t.Errorf("a tag that moved: %+v, %v", r, err)
	}
	if after := files(t, dst.Name); len(after) != len(before) {
		t.Errorf("%d files, before %d", len(after), len(before))
	}
	if r := verified(t, dst); len(r.Findings) != 0 {
		t.Errorf("%+v", r)
	}
	// What is attached later comes, what is taken away goes.
	index := s.tags["one:v"]
	s.image(&ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: index, Size: int64(len(s.content[index]))}, "a third note")
	delete(s.tags, "one:"+transport.AttachmentTag(index, "sig"))
	r, err = Add(t.Context(), c, dst, refs(t, s, names), Options{})
	if err != nil || r.Blobs.Fetched != 2 || slices.ContainsFunc(r.Images, func(c Change) bool { return c.Change != Unchanged }) {
		t.Errorf("attachments: %+v, %v", r, err)
	}
	fresh := layout(filepath.Join(t.TempDir(), "fresh"))
	if _, err := Create(t.Context(), c, fresh, refs(t, s, names), Options{}); err != nil {
		t.Fatal(err)
	}
	sameFiles(t, files(t, dst.Name), files(t, fresh.Name))
}

// TestInterrupted ends runs at every blob; the next one goes on, and in the end all
// of it was sent about once.
func TestInterrupted(t *testing.T) {
	for _, kind := range []string{transport.OCI, transport.OCIArchive} {
		s, names := stocked(t, true)
		want := layout(filepath.Join(t.TempDir(), "want"))
		c := testClient(t)
		if _, err := Create(t.Context(), c, want, refs(t, s, names), Options{}); err != nil {
			t.Fatal(err)
		}
		s.requests("GET blobs")
		dir := t.TempDir()
		dst := transport.Reference{Transport: kind, Name: filepath.Join(dir, "b")}
		runs := 0
		for ; ; runs++ {
			ctx, cancel := context.WithCancel(t.Context())
			served := 0
			s.set(func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(r.URL.Path, "/blobs/") {
					s.mu.Lock()
					defer s.mu.Unlock()
					if served++; served > 2 {
						cancel()
					}
				}
				return false
			})
			_, err := Create(ctx, c, dst, refs(t, s, names), Options{})
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			b, terr := transport.OpenBundleTarget(dst)
			if b != nil || terr != nil {
				t.Fatalf("an unfinished bundle can be seen: %v", terr)
			}
			if runs > 30 {
				t.Fatal("it does not come to an end")
			}
		}
		s.set(nil)
		if runs == 0 {
			t.Error("nothing was interrupted")
		}
		if n := s.requests("GET blobs"); n > 19+runs*parallelImages*parallelBlobs {
			t.Errorf("%d blobs were asked for in %d runs", n, runs)
		}
		if kind == transport.OCI {
			sameFiles(t, files(t, dst.Name), files(t, want.Name))
		} else {
			out := layout(filepath.Join(dir, "out"))
			if _, err := Create(t.Context(), c, out, []transport.Reference{dst}, Options{}); err != nil {
				t.Fatal(err)
			}
			sameFiles(t, files(t, out.Name), files(t, want.Name))
			if left, _ := filepath.Glob(filepath.Join(dir, ".b*")); len(left) != 0 {
				t.Errorf("%q is left", left)
			}
		}
	}
}

// TestRestOfABlob keeps the beginning of a blob whose server went away; the next run
// asks for the rest. A beginning that is wrong is thrown away.
func TestRestOfABlob(t *testing.T) {
	s := newShelf(t)
	s.api = true
	large := strings.Repeat("0123456789abcdef", 1<<14)
	s.tag("one:v", s.image(nil, large))
	layer := digest.FromString(large)
	c := testClient(t)
	for _, damage := range []bool{false, true} {
		dst := layout(filepath.Join(t.TempDir(), "b"))
		var ranges []string
		s.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, layer.String()) {
				return false
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(ranges) > 0 || r.Header.Get("Range") != "" {
				http.Error(w, "gone", http.StatusForbidden)
				return true
			}
			ranges = append(ranges, "")
			w.Header().Set("Content-Length", fmt.Sprint(len(large)))
			_, _ = w.Write([]byte(large[:100000]))
			panic(http.ErrAbortHandler)
		})
		if _, err := Create(t.Context(), c, dst, refs(t, s, []string{"one:v"}), Options{}); err == nil {
			t.Fatal("half a blob was enough")
		}
		part := filepath.Join(dst.Name, ocilayout.BundleWork, partPrefix+"sha256-"+layer.Encoded())
		st, err := os.Stat(part)
		if err != nil || st.Size() != 100000 {
			t.Fatalf("kept %v, %v", st, err)
		}
		if damage {
			if err := os.WriteFile(part, []byte(strings.Repeat("x", 100000)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s.set(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, layer.String()) {
				s.mu.Lock()
				defer s.mu.Unlock()
				ranges = append(ranges, r.Header.Get("Range"))
			}
			return false
		})
		if _, err := Create(t.Context(), c, dst, refs(t, s, []string{"one:v"}), Options{}); err != nil {
			t.Fatal(err)
		}
		s.set(nil)
		want := []string{"", "bytes=100000-262143"}
		if damage {
			want = append(want, "")
		}
		if !slices.Equal(ranges, want) {
			t.Errorf("asked for %q, want %q", ranges, want)
		}
		if r := verified(t, dst); len(r.Findings) != 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestManyImages looks at how requests grow with the number of images: one list of
// tags for a repository, and so many for each image.
func TestManyImages(t *testing.T) {
	count := func(n int) map[string]int {
		s := newShelf(t)
		s.api = true
		var names []string
		for i := range n {
			s.tag(fmt.Sprintf("many:v%d", i), s.image(nil, fmt.Sprintf("kernel %d", i), fmt.Sprintf("initrd %d", i/10), "common"))
			names = append(names, fmt.Sprintf("many:v%d", i))
		}
		dst := layout(filepath.Join(t.TempDir(), "b"))
		r, err := Create(t.Context(), testClient(t), dst, refs(t, s, names), Options{})
		if err != nil || len(r.Images) != n {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return maps.Clone(s.asked)
	}
	few, many := count(20), count(100)
	for kind, n := range many {
		if kind != "GET tags" && n > few[kind]*5 || kind == "GET tags" && n != 1 {
			t.Errorf("%d requests %q for 100 images, %d for 20", n, kind, few[kind])
		}
	}
}
