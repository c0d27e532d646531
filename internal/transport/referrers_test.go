package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/nbpack/nbpack/internal/ociindex"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const signatureType = "application/vnd.example.signature"

// referring puts into a layout of its own a small artifact about subject, and
// gives the source of it. n makes it different from others.
func referring(t testing.TB, subject ocispec.Descriptor, n int) (Source, ocispec.Descriptor) {
	t.Helper()
	im := makeImage(t, fmt.Sprintf("signature %d", n))
	im.m.ArtifactType, im.m.Subject = signatureType, &subject
	im.m.Annotations = map[string]string{"n": fmt.Sprint(n)}
	body, err := json.Marshal(im.m)
	if err != nil {
		t.Fatal(err)
	}
	im.manifest, im.desc = body, describe(ocispec.MediaTypeImageManifest, body)
	f := newFake(t, false)
	f.put(t, "from", "v1", im)
	src, err := testClient(t, insecure(Options{})).Source(t.Context(), mustRef(t, f.host()+"/from:v1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src, im.desc
}

// attachPlaces gives a registry without the API, one with it, and a layout.
func attachPlaces(t *testing.T) map[string]string {
	all := places(t)
	modern := newFake(t, false)
	modern.inner = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	all["modern"] = modern.host() + "/some/repo"
	return all
}

// TestReferrers attaches two manifests to an image, one of them twice, and finds
// them from the repository and from a source.
func TestReferrers(t *testing.T) {
	for name, ref := range attachPlaces(t) {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, insecure(Options{}))
			r := openRepository(t, c, ref)
			_, body := indexOf(t, "subject")
			d, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if found, err := r.Referrers(t.Context(), d.Digest, ""); err != nil || len(found) != 0 {
				t.Errorf("before: %v, %v", found, err)
			}
			want := map[digest.Digest]bool{}
			for _, n := range []int{1, 2, 1} {
				src, a := referring(t, d, n)
				if err := r.PutReferrer(t.Context(), src, a); err != nil {
					t.Fatal(err)
				}
				want[a.Digest] = true
			}
			src, err := c.Source(t.Context(), mustRef(t, ref+":v1"))
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			a, err := Attachments(src)
			if err != nil {
				t.Fatal(err)
			}
			for who, lists := range map[string]func(context.Context, digest.Digest, string) ([]ocispec.Descriptor, error){"repository": r.Referrers, "source": a.Referrers} {
				kind := signatureType
				if name == "modern" {
					kind = "" // this registry takes the config's media type for it
				}
				found, err := lists(t.Context(), d.Digest, kind)
				if err != nil || len(found) != 2 {
					t.Errorf("%s: %v, %v", who, found, err)
				}
				for _, f := range found {
					if !want[f.Digest] || kind != "" && (f.ArtifactType != kind || f.Annotations["n"] == "") {
						t.Errorf("%s: found %v", who, f)
					}
					if _, _, err := src.Manifest(t.Context(), f); err != nil {
						t.Error(err)
					}
				}
				if found, err := lists(t.Context(), d.Digest, "application/x-other"); err != nil || len(found) != 0 {
					t.Errorf("%s: of another type %v, %v", who, found, err)
				}
			}
			tags, err := r.Tags(t.Context())
			if wantTags := 2; err != nil || name == "modern" && len(tags) != 1 || name != "modern" && len(tags) != wantTags {
				t.Errorf("tags %q, %v", tags, err)
			}
		})
	}
}

// TestPutReferrerKeepsBytes edits an index of referrers that others wrote.
func TestPutReferrerKeepsBytes(t *testing.T) {
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			r := openRepository(t, testClient(t, insecure(Options{})), ref)
			subject, body := indexOf(t, "subject")
			if _, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err != nil {
				t.Fatal(err)
			}
			entry := `{ "size": ` + fmt.Sprint(subject.Size) + `, "x": [1.0e0], "mediaType": "` + ocispec.MediaTypeImageIndex + `", "digest": "` + subject.Digest.String() + `" }`
			foreign := `{ "manifests": [ ` + entry + ` ], "y" : 12345678901234567890123, "mediaType": "` + ocispec.MediaTypeImageIndex + `", "schemaVersion": 2 }`
			tag := AttachmentTag(subject.Digest, "")
			if _, err := r.Put(t.Context(), tag, ocispec.MediaTypeImageIndex, []byte(foreign), PutOptions{}); err != nil {
				t.Fatal(err)
			}
			src, a := referring(t, subject, 1)
			if err := r.PutReferrer(t.Context(), src, a); err != nil {
				t.Fatal(err)
			}
			_, after, err := r.Get(t.Context(), tag)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := ociindex.Parse(after)
			if err != nil || doc.Len() != 2 {
				t.Fatalf("%v\n%s", err, after)
			}
			back, err := doc.Remove(1)
			if err != nil || string(back.Bytes()) != foreign {
				t.Errorf("%v\n got %s\nwant %s", err, back.Bytes(), foreign)
			}
		})
	}
}

// TestPutReferrersAtOnce has several writers list what refers to one image. A
// layout is locked; a registry keeps nobody apart, so each writer looks again.
func TestPutReferrersAtOnce(t *testing.T) {
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			subject, body := indexOf(t, "subject")
			if _, err := openRepository(t, testClient(t, insecure(Options{})), ref).Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err != nil {
				t.Fatal(err)
			}
			const writers = 3
			var wg sync.WaitGroup
			for n := range writers {
				r := openRepository(t, testClient(t, insecure(Options{})), ref)
				src, a := referring(t, subject, n)
				wg.Go(func() {
					if err := r.PutReferrer(t.Context(), src, a); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			found, err := openRepository(t, testClient(t, insecure(Options{})), ref).Referrers(t.Context(), subject.Digest, "")
			if err != nil || name == "layout" && len(found) != writers || len(found) == 0 {
				t.Errorf("%d of %d, %v", len(found), writers, err)
			}
		})
	}
}

// TestPutReferrersTogether: one Repository keeps its own writers apart.
func TestPutReferrersTogether(t *testing.T) {
	for name, ref := range attachPlaces(t) {
		r := openRepository(t, testClient(t, insecure(Options{})), ref)
		subject, _ := indexOf(t, "subject")
		const writers = 6
		var wg sync.WaitGroup
		for n := range writers {
			src, a := referring(t, subject, n)
			wg.Go(func() {
				if err := r.PutReferrer(t.Context(), src, a); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if found, err := r.Referrers(t.Context(), subject.Digest, ""); err != nil || len(found) != writers {
			t.Errorf("%s: %d of %d, %v", name, len(found), writers, err)
		}
	}
}

// TestReferrersOfOddRegistries asks registries that know no API in several ways,
// some that fail, one that never ends, and a mirror that has no signatures.
func TestReferrersOfOddRegistries(t *testing.T) {
	subject := digest.FromString("subject")
	entry := func(n int) string {
		d := describe(ocispec.MediaTypeImageManifest, fmt.Appendf(nil, "referrer %d", n))
		return `{"mediaType":"` + d.MediaType + `","digest":"` + d.Digest.String() + `","size":` + fmt.Sprint(d.Size) + `}`
	}
	list := func(entries ...string) string {
		return `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[` + strings.Join(entries, ",") + `]}`
	}
	many := make([]string, maxReferrers+1)
	for i := range many {
		many[i] = entry(i)
	}
	for _, tt := range []struct {
		name       string
		status     int
		api, byTag string
		want       int // -1: an error
	}{
		{"api", 200, list(entry(1), entry(2)), "", 2},
		{"empty api", 200, list(), list(entry(1)), 0},
		{"no api", 404, "", list(entry(1)), 1},
		{"no api, nothing", 404, "", "", 0},
		{"no api, says 400", 400, "", list(entry(1)), 1},
		{"no api, says 405", 405, "", list(entry(1)), 1},
		{"broken", 500, "", list(entry(1)), -1},
		{"denied", 403, "", list(entry(1)), -1},
		{"bad entries", 200, list(`{"mediaType":"a/b","digest":"sha256:../../x","size":1}`, entry(1), `{"digest":"`+subject.String()+`","size":-1}`), "", 1},
		{"too many", 200, list(many...), "", -1},
		{"not json", 200, "<html>", list(entry(1)), -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				body, code := tt.byTag, 200
				if strings.Contains(req.URL.Path, "/referrers/") {
					body, code = tt.api, tt.status
				} else if body == "" {
					code = 404
				}
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				w.WriteHeader(code)
				_, _ = io.WriteString(w, body)
			}))
			defer srv.Close()
			src, err := testClient(t, insecure(Options{})).Source(t.Context(), mustRef(t, strings.TrimPrefix(srv.URL, "http://")+"/a/b:v1"))
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			a, err := Attachments(src)
			if err != nil {
				t.Fatal(err)
			}
			found, err := a.Referrers(t.Context(), subject, "")
			if tt.want < 0 && err == nil || tt.want >= 0 && (err != nil || len(found) != tt.want) {
				t.Errorf("%d found, %v; want %d", len(found), err, tt.want)
			}
		})
	}
}

// TestReferrersPages follows links, and stops when they never end.
func TestReferrersPages(t *testing.T) {
	for _, last := range []int{3, 1 << 30} {
		page := 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			page++
			w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
			if page < last {
				w.Header().Set("Link", fmt.Sprintf(`<%s?page=%d>; rel="next"`, req.URL.Path, page))
			}
			d := describe(ocispec.MediaTypeImageManifest, fmt.Appendf(nil, "%d", page%5))
			fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, ocispec.MediaTypeImageIndex, d.MediaType, d.Digest)
		}))
		r := openRepository(t, testClient(t, insecure(Options{})), strings.TrimPrefix(srv.URL, "http://")+"/a/b")
		found, err := r.Referrers(t.Context(), digest.FromString("x"), "")
		if last == 3 && (err != nil || len(found) != 3) || last > 3 && err == nil {
			t.Errorf("%d pages: %v, %v", last, found, err)
		}
		srv.Close()
	}
}

func TestAttached(t *testing.T) {
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, insecure(Options{}))
			r := openRepository(t, c, ref)
			subject, body := indexOf(t, "subject")
			for _, tag := range []string{"v1", AttachmentTag(subject.Digest, "sig")} {
				if _, err := r.Put(t.Context(), tag, ocispec.MediaTypeImageIndex, body, PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			// Without a tag: what is attached does not make it ambiguous.
			at := ref
			if name == "registry" {
				at += ":v1"
			}
			src, err := c.Source(t.Context(), mustRef(t, at))
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if d, err := src.Resolve(t.Context()); err != nil || d.Digest != subject.Digest {
				t.Errorf("resolve: %v, %v", d, err)
			}
			a, err := Attachments(src)
			if err != nil {
				t.Fatal(err)
			}
			if d, there, err := a.Attached(t.Context(), subject.Digest, "sig"); err != nil || !there || d.Digest != subject.Digest {
				t.Errorf("%v, %t, %v", d, there, err)
			}
			for _, d := range []digest.Digest{digest.FromString("other"), "sha256:../x"} {
				if _, there, _ := a.Attached(t.Context(), d, "sig"); there {
					t.Errorf("%s is there", d)
				}
			}
		})
	}
	if _, err := Attachments(&dirSource{}); err == nil {
		t.Error("a directory has attachments")
	}
}

// TestReferrersInIndex finds what a layout lists without a name.
func TestReferrersInIndex(t *testing.T) {
	ref := "oci:" + t.TempDir()
	c := testClient(t, Options{})
	r := openRepository(t, c, ref)
	subject, body := indexOf(t, "subject")
	if _, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	from, a := referring(t, subject, 1)
	if err := r.Copy(t.Context(), from, a); err != nil {
		t.Fatal(err)
	}
	raw, _, err := from.Manifest(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Put(t.Context(), "signature", a.MediaType, raw, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	found, err := r.Referrers(t.Context(), subject.Digest, signatureType)
	if err != nil || len(found) != 1 || found[0].Digest != a.Digest {
		t.Errorf("%v, %v", found, err)
	}
}

// TestPutReferrerIndex: an index may refer to something, too.
func TestPutReferrerIndex(t *testing.T) {
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			r := openRepository(t, testClient(t, insecure(Options{})), ref)
			subject, _ := indexOf(t, "subject")
			f := newForest(t)
			quoted := mustJSON(t, subject)
			body := `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","artifactType":"application/x-set","subject":` + quoted + `,"manifests":[],"annotations":{"n":"1"}}`
			a := f.add(ocispec.MediaTypeImageIndex, []byte(body))
			src := openSource(t, testClient(t, Options{}), f.layout(a))
			if err := r.PutReferrer(t.Context(), src, a); err != nil {
				t.Fatal(err)
			}
			found, err := r.Referrers(t.Context(), subject.Digest, "application/x-set")
			if err != nil || len(found) != 1 || found[0].Digest != a.Digest || found[0].Annotations["n"] != "1" {
				t.Errorf("%v, %v", found, err)
			}
			plain := f.add(ocispec.MediaTypeImageIndex, []byte(strings.Replace(body, `"subject":`+quoted+`,`, "", 1)))
			if err := r.PutReferrer(t.Context(), openSource(t, testClient(t, Options{}), f.layout(plain)), plain); err == nil {
				t.Error("attached what refers to nothing")
			}
		})
	}
}
