package relocate

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/nbpack/nbpack/internal/transport"
)

// TestRelocate copies an index of everything, an image by its digest alone, and one
// under two tags, with all that is attached to them.
func TestRelocate(t *testing.T) {
	pairs(t, func(t *testing.T, from, to string) {
		s := newStock(t)
		zoo, plain, named := s.zoo(), s.image("plain"), s.image("named")
		s.push(from, "os/boot", "v1", zoo)
		s.push(from, "os/boot", "v2", plain)
		s.push(from, "os/boot", "latest", plain)
		s.push(from, "other", "", named)
		got, m, err := relocate(t, testClient(t, transport.Options{}), to, from+"/os/boot:v1", from+"/os/boot:v2", from+"/os/boot", from+"/other@"+named.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		s.same(to, got[0], "v1", zoo)
		s.same(to, got[1], "v2", plain)
		s.same(to, got[2], "latest", plain)
		s.same(to, got[3], "", named)
		for i, want := range []digest.Digest{zoo.Digest, plain.Digest, plain.Digest, named.Digest} {
			if e := m.Images[i]; e.Digest == nil || *e.Digest != want || e.Error != "" || !e.Changed {
				t.Errorf("%+v", e)
			}
		}
		if got[0] != got[1] || got[0] == got[3] || !strings.HasPrefix(got[0], "mirror/os-boot-") {
			t.Errorf("repositories %q", got)
		}
		var tags struct{ Tags []string }
		if err := json.Unmarshal(get(t, to, got[0], "tags/list"), &tags); err != nil || len(tags.Tags) != 3 {
			t.Errorf("tags %q, %v", tags.Tags, err)
		}
	})
}

// referrersOf asks as oras does.
func referrersOf(t *testing.T, host, repo string, subject ocispec.Descriptor) (list []string) {
	t.Helper()
	r, err := remote.NewRepository(host + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	r.PlainHTTP = true
	err = r.Referrers(t.Context(), subject, "", func(page []ocispec.Descriptor) error {
		for _, d := range page {
			list = append(list, d.Digest.String())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func digestsOf(list ...ocispec.Descriptor) (out []string) {
	for _, d := range list {
		out = append(out, d.Digest.String())
	}
	slices.Sort(out)
	return out
}

// TestAttachments: signatures in all their places come along, of children too, and
// what is attached to them, with lists where there is no API; nothing changes in a
// second run, which reads no layer.
func TestAttachments(t *testing.T) {
	pairs(t, func(t *testing.T, from, to string) {
		s := newStock(t)
		child := s.image("child")
		child.Platform = &ocispec.Platform{OS: "linux", Architecture: "amd64"}
		top := s.index(child)
		signature, sbom := s.attached("signature", top), s.attached("sbom", top)
		ofChild, ofSBOM := s.attached("signature", child), s.attached("signature", sbom)
		s.push(from, "r", "v1", top)
		for _, d := range []ocispec.Descriptor{signature, sbom, ofChild, ofSBOM} {
			s.push(from, "r", "", d)
		}
		list := s.document(ocispec.MediaTypeImageIndex, map[string]any{"manifests": []ocispec.Descriptor{signature, sbom}, "annotations": map[string]string{"foreign": "list"}})
		s.push(from, "r", fallbackTag(top.Digest), list)
		s.push(from, "r", fallbackTag(child.Digest), s.index(ofChild))
		s.push(from, "r", fallbackTag(sbom.Digest), s.index(ofSBOM))
		old := map[string]ocispec.Descriptor{}
		for _, suffix := range companions() {
			for _, of := range []ocispec.Descriptor{top, child, signature} {
				tag := fallbackTag(of.Digest) + "." + suffix
				old[tag] = s.image(tag)
				s.push(from, "r", tag, old[tag])
			}
		}
		// A signature of the old form has one itself.
		deep := fallbackTag(old[fallbackTag(child.Digest)+".sbom"].Digest) + ".sig"
		old[deep] = s.image(deep)
		s.push(from, "r", deep, old[deep])

		c := testClient(t, transport.Options{})
		repos, _, err := relocate(t, c, to, from+"/r:v1")
		if err != nil {
			t.Fatal(err)
		}
		s.same(to, repos[0], "v1", top)
		s.same(to, repos[0], fallbackTag(top.Digest), list)
		for tag, d := range old {
			s.same(to, repos[0], tag, d)
		}
		for _, tt := range []struct{ subject, want []ocispec.Descriptor }{
			{[]ocispec.Descriptor{top}, []ocispec.Descriptor{signature, sbom}},
			{[]ocispec.Descriptor{child}, []ocispec.Descriptor{ofChild}},
			{[]ocispec.Descriptor{sbom}, []ocispec.Descriptor{ofSBOM}},
		} {
			if got := referrersOf(t, to, repos[0], tt.subject[0]); !slices.Equal(got, digestsOf(tt.want...)) {
				t.Errorf("referrers of %s: %q, want %q", tt.subject[0].Digest, got, digestsOf(tt.want...))
			}
			for _, d := range tt.want {
				s.same(to, repos[0], "", d)
			}
		}
		_, m, err := relocate(t, c, to, from+"/r:v1")
		if err != nil || m.Images[0].Changed {
			t.Errorf("again: %+v, %v", m, err)
		}
	})
}

// TestIdempotent: a second run asks, and neither writes nor reads a layer; one that
// rechecks finds the blob that is gone.
func TestIdempotent(t *testing.T) {
	from, to := newHub(t, false), newHub(t, false)
	s := newStock(t)
	d, zoo := s.image("one"), s.zoo()
	s.push(from.host(), "one", "v1", d)
	s.push(from.host(), "zoo", "v1", zoo)
	sig := s.image("signature")
	s.push(from.host(), "one", fallbackTag(d.Digest)+".sig", sig)
	c := testClient(t, transport.Options{})
	run := func() *Map {
		t.Helper()
		_, m, err := relocate(t, c, to.host(), from.host()+"/one:v1", from.host()+"/zoo:v1")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	run()
	from.forget(nil)
	to.forget(nil)
	for _, e := range run().Images {
		if e.Changed || e.Digest == nil {
			t.Errorf("%+v", e)
		}
	}
	for _, r := range append(from.requests(""), to.requests("")...) {
		head, list := strings.HasPrefix(r, "HEAD "), strings.Contains(r, "/referrers/") || strings.Contains(r, "/manifests/sha256-")
		if !head && !list && !strings.HasPrefix(r, "GET /v2/zoo/manifests/") {
			t.Errorf("the second run sent %s", r)
		}
	}
	if got := len(to.requests("")); got > 4 {
		t.Errorf("%d requests to the destination: %q", got, to.requests(""))
	}
}

// TestSomeFail: one that is not there, one that is damaged and one that is another
// than it should be do not keep the others from being copied, and say why.
func TestSomeFail(t *testing.T) {
	from, to := newHub(t, false), newHub(t, false)
	s := newStock(t)
	good, bad := s.image("good"), s.image("bad")
	s.push(from.host(), "good", "v1", good)
	s.push(from.host(), "bad", "v1", bad)
	from.forget(func(w http.ResponseWriter, r *http.Request) bool {
		hit := strings.HasPrefix(r.URL.Path, "/v2/bad/blobs/")
		if hit && r.Method == http.MethodGet {
			_, _ = w.Write([]byte("something else"))
		}
		return hit
	})
	list, err := ParseImages([]string{from.host() + "/missing:v1", from.host() + "/good:v1", from.host() + "/bad:v1", from.host() + "/good:v2"})
	if err != nil {
		t.Fatal(err)
	}
	list = append(list, image(t, from.host()+"/good"))
	s.push(from.host(), "good", "latest", good)
	list[4].Want = bad.Digest
	p, err := NewPlan(list, mapping(t, to.host(), MD5))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	done := 0
	c := testClient(t, transport.Options{})
	err = p.Run(t.Context(), Options{Open: opener(c), To: c, Done: func(string, string, bool, error) { mu.Lock(); done++; mu.Unlock() }})
	var failed *FailedError
	if !errors.As(err, &failed) || failed.Failed != 4 || failed.All != 5 || failed.ExitCode() != 1 || done != 5 {
		t.Fatalf("%v, %d done", err, done)
	}
	m := p.Map()
	for i, want := range []string{"not found", "", "size-mismatch", `tag "v2" not found`, "not " + bad.Digest.String()} {
		if got := m.Images[i].Error; (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", m.Images[i].Original, got, want)
		}
	}
	if cnab := m.CNAB(); len(cnab) != 1 || cnab[from.host()+"/good:v1"] == "" {
		t.Errorf("%v", cnab)
	}
	if b := get(t, to.host(), strings.TrimPrefix(p.items[2].job.to.Name, to.host()+"/"), "manifests/v1"); b != nil {
		t.Errorf("a damaged image has its tag: %s", b)
	}
}
