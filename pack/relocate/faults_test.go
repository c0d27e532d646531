package relocate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/testserver"
	"github.com/nbpack/nbpack/internal/transport"
)

// TestGoOn: a run that is interrupted, wherever it is, goes on where it was: what a
// destination has is not sent again.
func TestGoOn(t *testing.T) {
	s := newStock(t)
	from, to := newHub(t, false), newHub(t, false)
	var images []string
	for n := range 6 {
		s.push(from.host(), fmt.Sprint("r", n), "v1", s.index(s.image(fmt.Sprint("a", n)), s.image(fmt.Sprint("b", n))))
		images = append(images, fmt.Sprintf("%s/r%d:v1", from.host(), n))
	}
	var mu sync.Mutex
	stored := map[string]bool{}
	for limit := 5; ; limit += 17 {
		c := testClient(t, transport.Options{UserAgent: fmt.Sprint("run/", limit)})
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		var writing sync.WaitGroup // what a dead client sent is stored all the same
		to.forget(func(w http.ResponseWriter, r *http.Request) bool {
			mu.Lock()
			if r.UserAgent() != fmt.Sprint("run/", limit) { // the run before had it on its way still
				mu.Unlock()
				panic(http.ErrAbortHandler)
			}
			n++
			over := n >= limit
			if !over {
				writing.Add(1)
				defer writing.Done()
			}
			mu.Unlock()
			if over {
				cancel()
				panic(http.ErrAbortHandler)
			}
			if r.Method != http.MethodPut {
				return false
			}
			// What is stored once is never sent again, be the answer heard or not.
			repo, _, blob := strings.Cut(r.URL.Path, "/blobs/")
			what := repo + r.URL.Query().Get("digest")
			if blob == (what == repo) {
				t.Errorf("odd request %s", r.URL)
			}
			answer := httptest.NewRecorder()
			to.inner.ServeHTTP(answer, r)
			mu.Lock()
			if stored[what] {
				t.Errorf("%s was sent again", what)
			}
			stored[what] = answer.Code == http.StatusCreated
			mu.Unlock()
			for key, values := range answer.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(answer.Code)
			return true
		})
		p := plan(t, to.host(), images...)
		err := p.Run(ctx, Options{Open: opener(c), To: c})
		writing.Wait()
		interrupted := ctx.Err() != nil
		cancel()
		if !interrupted {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted: %v", err)
		}
	}
	to.forget(nil)
	c := testClient(t, transport.Options{})
	repos, m, err := relocate(t, c, to.host(), images...)
	if err != nil || m.Images[0].Changed || len(to.requests("PUT")) != 0 {
		t.Errorf("%+v, %v, %q", m, err, to.requests("PUT"))
	}
	for i, repo := range repos {
		if get(t, to.host(), repo, "manifests/v1") == nil {
			t.Errorf("%s is not there", images[i])
		}
	}
}

// TestMovedTag: a tag that names another image now, and a signature that was made
// anew, are replaced; what the destination has of its own stays in the list.
func TestMovedTag(t *testing.T) {
	s := newStock(t)
	from, to := newHub(t, false), newHub(t, false)
	one, two := s.image("one"), s.image("two")
	sig := fallbackTag(two.Digest) + ".sig"
	theirs := s.attached("signature", two)
	s.push(from.host(), "r", "v1", one)
	c := testClient(t, transport.Options{})
	repos, _, err := relocate(t, c, to.host(), from.host()+"/r:v1")
	if err != nil {
		t.Fatal(err)
	}
	// The site signs what it has got, in both ways.
	ours, oldSig := s.attached("approval", two), s.image("old signature")
	s.push(to.host(), repos[0], "", ours)
	list := s.document(ocispec.MediaTypeImageIndex, map[string]any{"manifests": []ocispec.Descriptor{ours}, "annotations": map[string]string{"a": "b"}})
	s.push(to.host(), repos[0], fallbackTag(two.Digest), list)
	s.push(to.host(), repos[0], sig, oldSig)

	newSig := s.image("new signature")
	s.push(from.host(), "r", "v1", two)
	s.push(from.host(), "r", sig, newSig)
	s.push(from.host(), "r", "", theirs)
	s.push(from.host(), "r", fallbackTag(two.Digest), s.index(theirs))
	var warnings []string
	p := plan(t, to.host(), from.host()+"/r:v1")
	if err := p.Run(t.Context(), Options{Open: opener(c), To: c, Warn: func(f string, a ...any) { warnings = append(warnings, fmt.Sprintf(f, a...)) }}); err != nil {
		t.Fatal(err)
	}
	s.same(to.host(), repos[0], "v1", two)
	s.same(to.host(), repos[0], sig, newSig)
	if len(warnings) != 1 || !strings.Contains(warnings[0], oldSig.Digest.String()) {
		t.Errorf("warnings %q", warnings)
	}
	if got := referrersOf(t, to.host(), repos[0], two); !slices.Equal(got, digestsOf(ours, theirs)) {
		t.Errorf("referrers %q", got)
	}
	if b := get(t, to.host(), repos[0], "manifests/"+fallbackTag(two.Digest)); !bytes.HasPrefix(b, s.bytes[list.Digest][:100]) {
		t.Errorf("the site's list is now %s", b)
	}
}

// TestOddReferrers: what is listed and is not there, or refers to something else, is
// left out; a tag for referrers that is no index is copied as it is.
func TestOddReferrers(t *testing.T) {
	s := newStock(t)
	from, to := newHub(t, false), newHub(t, false)
	d, other := s.image("d"), s.image("other")
	good, stranger, gone := s.attached("signature", d), s.attached("signature", other), s.attached("gone", d)
	s.push(from.host(), "r", "v1", d)
	s.push(from.host(), "r", "", good)
	s.push(from.host(), "r", "", stranger)
	s.push(from.host(), "r", "", gone)
	s.push(from.host(), "r", fallbackTag(d.Digest), s.index(gone, stranger, good))
	s.push(from.host(), "r", fallbackTag(good.Digest), other)
	from.forget(func(w http.ResponseWriter, r *http.Request) bool {
		if filepath.Base(r.URL.Path) == gone.Digest.String() {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	var warnings []string
	p := plan(t, to.host(), from.host()+"/r:v1")
	c := testClient(t, transport.Options{})
	if err := p.Run(t.Context(), Options{Open: opener(c), To: c, Warn: func(f string, a ...any) { warnings = append(warnings, fmt.Sprintf(f, a...)) }}); err != nil {
		t.Fatal(err)
	}
	repo := strings.TrimPrefix(p.items[0].job.to.Name, to.host()+"/")
	if got := referrersOf(t, to.host(), repo, d); !slices.Equal(got, digestsOf(good)) || len(warnings) != 2 {
		t.Errorf("referrers %q, warnings %q", got, warnings)
	}
	s.same(to.host(), repo, fallbackTag(good.Digest), other)
	if get(t, to.host(), repo, "manifests/"+stranger.Digest.String()) != nil {
		t.Error("a stranger came along")
	}
}

// TestOwnSubject: a referrer that is relocated by its own name is found by its
// subject afterwards, also in a registry without the API.
func TestOwnSubject(t *testing.T) {
	pairs(t, func(t *testing.T, from, to string) {
		s := newStock(t)
		d := s.image("d")
		byTag, byDigest := s.attached("one", d), s.attached("two", d)
		s.push(from, "r", "v1", d)
		s.push(from, "r", "one", byTag)
		s.push(from, "r", "", byDigest)
		all, names := []ocispec.Descriptor{byTag, byDigest}, []string{from + "/r:one", from + "/r@" + byDigest.Digest.String()}
		for n := range 5 { // all at the same time, to one list
			more := s.attached(fmt.Sprint("more", n), d)
			s.push(from, "r", "", more)
			all, names = append(all, more), append(names, from+"/r@"+more.Digest.String())
		}
		c := testClient(t, transport.Options{})
		for range 2 {
			repos, _, err := relocate(t, c, to, names...)
			if err != nil {
				t.Fatal(err)
			}
			if got := referrersOf(t, to, repos[0], d); !slices.Equal(got, digestsOf(all...)) {
				t.Errorf("referrers %q", got)
			}
		}
	})
}

// TestURLs: layers that lie elsewhere come into the destination, from hosts that are
// allowed only.
func TestURLs(t *testing.T) {
	s := newStock(t)
	foreign := s.add("application/vnd.oci.image.layer.nondistributable.v1.tar", bytes.Repeat([]byte("not distributable "), 200000))
	file := s.add("application/x-netboot-file", []byte("kernel"))
	content := s.bytes[foreign.Digest]
	var mu sync.Mutex
	var asked []string
	serve := func(files map[string][]byte) string {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.URL.Path)
			_, _ = w.Write(files[r.URL.Path])
		}))
		t.Cleanup(web.Close)
		return strings.TrimPrefix(web.URL, "http://")
	}
	liar := serve(map[string][]byte{"/wrong": bytes.ToUpper(content)})
	honest := serve(map[string][]byte{"/foreign": content, "/file": s.bytes[file.Digest]})
	foreign.URLs = []string{"http://registry.invalid/x", "http://" + liar + "/wrong", "http://" + honest + "/foreign"}
	file.URLs = []string{"http://" + honest + "/file"}
	d := s.image("d", foreign, file)
	missing := s.bytes
	s.bytes = map[digest.Digest][]byte{}
	for id, b := range missing {
		if id != foreign.Digest && id != file.Digest {
			s.bytes[id] = b
		}
	}
	from, to := newHub(t, false), newHub(t, false)
	s.push(from.host(), "r", "v1", d) // without them
	s.bytes = missing
	for _, hosts := range [][]string{nil, {"other.example"}} {
		_, m, err := relocate(t, testClient(t, transport.Options{URLHosts: hosts}), to.host(), from.host()+"/r:v1")
		if err == nil || !strings.Contains(m.Images[0].Error, "not found") || len(asked) != 0 {
			t.Errorf("allowed %q: %v, asked for %q", hosts, err, asked)
		}
	}
	c := testClient(t, transport.Options{URLHosts: []string{liar, honest}, AllowPrivateHosts: true})
	repos, _, err := relocate(t, c, to.host(), from.host()+"/r:v1")
	if err != nil {
		t.Fatal(err)
	}
	s.same(to.host(), repos[0], "v1", d)
	if !slices.Contains(asked, "/wrong") || !slices.Contains(asked, "/file") || !slices.Contains(asked, "/foreign") {
		t.Errorf("asked for %q", asked)
	}
}

// TestRecheck finds blobs that another tool left out.
func TestRecheck(t *testing.T) {
	s := newStock(t)
	from := newHub(t, false)
	to := testserver.Registry(t, "")
	file := s.add("application/x-netboot-file", []byte("kernel"))
	file.URLs = []string{"https://registry.invalid/kernel"}
	d := s.image("d", file)
	s.push(from.host(), "r", "v1", d)
	p := plan(t, to, from.host()+"/r:v1")
	repo := strings.TrimPrefix(p.items[0].job.to.Name, to+"/")
	kernel := s.bytes[file.Digest]
	delete(s.bytes, file.Digest)
	s.push(to, repo, "v1", d) // this registry takes such a manifest without the blob
	s.bytes[file.Digest] = kernel
	c := testClient(t, transport.Options{})
	for _, recheck := range []bool{false, true} {
		if err := p.Run(t.Context(), Options{Open: opener(c), To: c, Recheck: recheck}); err != nil {
			t.Fatal(err)
		}
		if got := get(t, to, repo, "blobs/"+file.Digest.String()); recheck != bytes.Equal(got, kernel) {
			t.Errorf("recheck %v: %q", recheck, got)
		}
	}
	s.same(to, repo, "v1", d)
}

// TestMounts: inside one registry no content travels, and what several repositories
// share travels once.
func TestMounts(t *testing.T) {
	s := newStock(t)
	from := newHub(t, false)
	real := testserver.Registry(t, "")
	shared := s.add("application/octet-stream", bytes.Repeat([]byte("shared"), 1000))
	var images []string
	for n := range 4 {
		s.push(from.host(), fmt.Sprint("r", n), "v1", s.image(fmt.Sprint("i", n), shared))
		images = append(images, fmt.Sprintf("%s/r%d:v1", from.host(), n))
	}
	c := testClient(t, transport.Options{})
	from.forget(nil)
	p := plan(t, real, images...)
	if err := p.Run(t.Context(), Options{Open: opener(c), To: c, Jobs: 1}); err != nil {
		t.Fatal(err)
	}
	if got := slices.DeleteFunc(from.requests("GET "), func(r string) bool { return filepath.Base(r) != shared.Digest.String() }); len(got) != 1 {
		t.Errorf("the shared layer was read %d times", len(got))
	}
	// On to another place in the same registry: from there to there.
	var again []string
	for _, it := range p.items {
		again = append(again, it.relocated)
	}
	q, err := ParseImages(again)
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewPlan(q, mapping(t, real+"/second", MD5))
	if err != nil {
		t.Fatal(err)
	}
	counted := testClient(t, transport.Options{})
	if err := second.Run(t.Context(), Options{Open: opener(counted), To: counted}); err != nil {
		t.Fatal(err)
	}
	if got := counted.Usage().Bytes; got > 20000 {
		t.Errorf("%d bytes were read", got)
	}
	for n, it := range second.items {
		s.same(real, strings.TrimPrefix(it.job.to.Name, real+"/"), "v1", s.image(fmt.Sprint("i", n), shared))
	}
}
