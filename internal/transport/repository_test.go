package transport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const any30 = 1 << 30 // a fault that stays

func openRepository(t testing.TB, c *Client, ref string) *Repository {
	t.Helper()
	r, err := c.Repository(t.Context(), mustRef(t, ref))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// indexOf makes an index over descriptors; field is an unknown field in it.
func indexOf(t testing.TB, field string, children ...ocispec.Descriptor) (ocispec.Descriptor, []byte) {
	t.Helper()
	list, err := json.Marshal(children)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{ "schemaVersion": 2, "mediaType": "` + ocispec.MediaTypeImageIndex + `", "x": "` + field + `", "manifests": ` + string(list) + " }\n")
	return describe(ocispec.MediaTypeImageIndex, body), body
}

// places gives an empty registry and an empty layout.
func places(t *testing.T) map[string]string {
	return map[string]string{"registry": newFake(t, false).host() + "/some/repo", "layout": "oci:" + t.TempDir() + "/a/layout"}
}

func TestRepositoryBasics(t *testing.T) {
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			r := openRepository(t, testClient(t, insecure(Options{})), ref)
			if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 0 {
				t.Errorf("tags of nothing: %q, %v", tags, err)
			}
			_, _, err := r.Get(t.Context(), "v1")
			wantNotFound(t, err)
			_, _, err = r.Get(t.Context(), "sha256:"+hex64)
			wantNotFound(t, err)

			_, empty := indexOf(t, "empty")
			d, err := r.Put(t.Context(), "v2", ocispec.MediaTypeImageIndex, empty, PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, empty, PutOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"v1", "v2", d.Digest.String()} {
				got, body, err := r.Get(t.Context(), name)
				if err != nil || string(body) != string(empty) || mustJSON(t, got) != mustJSON(t, describe(ocispec.MediaTypeImageIndex, empty)) {
					t.Errorf("%s: %v, %q, %v", name, got, body, err)
				}
			}
			if tags, err := r.Tags(t.Context()); err != nil || !slices.Equal(tags, []string{"v1", "v2"}) {
				t.Errorf("tags %q, %v", tags, err)
			}
			_, other := indexOf(t, "other")
			d, err = r.Put(t.Context(), "", ocispec.MediaTypeImageIndex, other, PutOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, body, err := r.Get(t.Context(), d.Digest.String()); err != nil || string(body) != string(other) {
				t.Errorf("by digest: %q, %v", body, err)
			}
			if tags, _ := r.Tags(t.Context()); len(tags) != 2 {
				t.Errorf("tags %q", tags)
			}
		})
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRepositoryRefuses(t *testing.T) {
	c := testClient(t, insecure(Options{}))
	for _, ref := range []string{"dir:/x", "oci-archive:/x"} {
		var usage interface{ ExitCode() int }
		if _, err := c.Repository(t.Context(), mustRef(t, ref)); !errors.As(err, &usage) || usage.ExitCode() != 2 {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for name, ref := range places(t) {
		r := openRepository(t, c, ref)
		for _, bad := range []string{"", "a b", "../x", "sha256:../../etc/passwd", "sha256:" + hex64[1:] + "G", "md5:d41d8cd98f00b204e9800998ecf8427e", "a/../b", "-a"} {
			if _, _, err := r.Get(t.Context(), bad); err == nil {
				t.Errorf("%s: got %q", name, bad)
			} else if nf := (*NotFoundError)(nil); errors.As(err, &nf) {
				t.Errorf("%s: looked for %q", name, bad)
			}
		}
		_, body := indexOf(t, "")
		for _, tt := range []struct{ tag, mt, body string }{
			{"a b", ocispec.MediaTypeImageIndex, string(body)},
			{"sha256:" + hex64, ocispec.MediaTypeImageIndex, string(body)},
			{"v1", ocispec.MediaTypeImageManifest, string(body)},
			{"v1", "application/json", string(body)},
			{"v1", ocispec.MediaTypeImageIndex, "{}x"},
			{"v1", ocispec.MediaTypeImageIndex, strings.Repeat(" ", spec.MaxManifestSize) + string(body)},
		} {
			if _, err := r.Put(t.Context(), tt.tag, tt.mt, []byte(tt.body), PutOptions{}); err == nil {
				t.Errorf("%s: put %.40q as %s under %q", name, tt.body, tt.mt, tt.tag)
			}
		}
		if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 0 {
			t.Errorf("%s: tags %q, %v", name, tags, err)
		}
	}
}

// TestRepositoryFaults: what a registry answers in trouble, and what it means.
func TestRepositoryFaults(t *testing.T) {
	_, index := indexOf(t, "x")
	d := describe(ocispec.MediaTypeImageIndex, index)
	const get, list = "GET /v2/r/manifests/v1", "GET /v2/r/tags/list"
	both := func(fs ...func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			for _, f := range fs {
				if f(w, r) {
					return true
				}
			}
			return false
		}
	}
	for _, tt := range []struct {
		name   string
		fault  func(http.ResponseWriter, *http.Request) bool
		absent bool   // the tag is not there
		want   string // "", "not found", "refused" or "error"
	}{
		{"404 once", times(1, get, status(404)), false, ""},
		{"404 four times", times(4, get, status(404)), false, ""},
		{"404 always, but it is listed", times(any30, get, status(404)), false, "error"},
		{"500 once", times(1, get, status(500)), false, ""},
		{"500 and 404 by turns", both(times(2, get, status(500)), times(1, get, status(404))), false, ""},
		{"500 always", times(any30, get, status(500)), false, "error"},
		{"dropped once", times(1, get, drop), false, ""},
		{"missing", nil, true, "not found"},
		{"missing, the list fails once", times(1, list, status(503)), true, "not found"},
		{"missing, the list is missing too", times(any30, list, status(404)), true, "not found"},
		{"missing, the list fails", times(any30, list, status(500)), true, "error"},
		{"missing, the list is not allowed", times(any30, list, status(403)), true, "error"},
		{"missing, there is no such list", times(any30, list, status(405)), true, "error"},
		{"another digest", times(any30, get, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", "sha256:"+hex64)
			w.Header().Set("Content-Type", d.MediaType)
			_, _ = w.Write(index)
		}), false, "refused"},
		{"another type", times(any30, get, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			_, _ = w.Write(index)
		}), false, "refused"},
		{"broken off", times(1, get, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", d.MediaType)
			serveRange(w, r, index, 20)
		}), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, false)
			r := openRepository(t, testClient(t, insecure(Options{})), f.host()+"/r")
			tag := "v1"
			if tt.absent {
				tag = "v2"
			}
			if _, err := r.Put(t.Context(), tag, d.MediaType, index, PutOptions{}); err != nil {
				t.Fatal(err)
			}
			f.setFault(tt.fault)
			got, body, err := r.Get(t.Context(), "v1")
			var absent *NotFoundError
			var refused *spec.Refusal
			is := "error"
			switch {
			case err == nil && string(body) == string(index) && got.Digest == d.Digest:
				is = ""
			case errors.As(err, &absent):
				is = "not found"
			case errors.As(err, &refused):
				is = "refused"
			}
			if is != tt.want {
				t.Errorf("got %q, want %q: %v", is, tt.want, err)
			}
			if n := len(f.requests()); n > 20 {
				t.Errorf("%d requests", n)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("several lines: %q", err)
			}
		})
	}
}

// TestTagsConfirmed: a list that is not found once is not empty.
func TestTagsConfirmed(t *testing.T) {
	f := newFake(t, false)
	r := openRepository(t, testClient(t, insecure(Options{})), f.host()+"/r")
	_, index := indexOf(t, "x")
	if _, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, index, PutOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, code := range []int{404, 500, 429} {
		f.setFault(times(1, "tags/list", status(code)))
		if tags, err := r.Tags(t.Context()); err != nil || len(tags) != 1 {
			t.Errorf("%d: %q, %v", code, tags, err)
		}
	}
}

// TestTagPagesAll: every page of the list counts.
func TestTagPagesAll(t *testing.T) {
	f := newFake(t, false)
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/tags/list"):
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Query().Get("last") == "":
			w.Header().Set("Link", `</v2/r/tags/list?last=b&n=2>; rel="next"`)
			_, _ = io.WriteString(w, `{"tags":["b","a"]}`)
		default:
			_, _ = io.WriteString(w, `{"tags":["c"]}`)
		}
		return true
	})
	r := openRepository(t, testClient(t, insecure(Options{})), f.host()+"/r")
	if tags, err := r.Tags(t.Context()); err != nil || !slices.Equal(tags, []string{"a", "b", "c"}) {
		t.Errorf("tags %q, %v", tags, err)
	}
	// A tag on the last page is not missing, only not to be had now.
	_, _, err := r.Get(t.Context(), "c")
	var absent *NotFoundError
	if err == nil || errors.As(err, &absent) {
		t.Errorf("got %v", err)
	}
	_, _, err = r.Get(t.Context(), "d")
	wantNotFound(t, err)
}

func TestIfMatch(t *testing.T) {
	_, one := indexOf(t, "1")
	_, two := indexOf(t, "2")
	for name, ref := range places(t) {
		t.Run(name, func(t *testing.T) {
			c := testClient(t, insecure(Options{}))
			r := openRepository(t, c, ref)
			put := func(body []byte, match digest.Digest) error {
				_, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, body, PutOptions{IfMatch: match})
				return err
			}
			if name == "layout" {
				if err := put(one, digest.FromBytes(two)); !errors.Is(err, ErrChanged) {
					t.Errorf("a tag that is missing matched: %v", err)
				}
			}
			if err := put(one, ""); err != nil {
				t.Fatal(err)
			}
			if err := put(two, digest.FromBytes(one)); err != nil {
				t.Fatal(err)
			}
			if name == "layout" {
				if err := put(one, digest.FromBytes(one)); !errors.Is(err, ErrChanged) {
					t.Errorf("got %v", err)
				}
			}
			if _, body, err := r.Get(t.Context(), "v1"); err != nil || string(body) != string(two) {
				t.Errorf("%q, %v", body, err)
			}
		})
	}
	f := newFake(t, false)
	r := openRepository(t, testClient(t, insecure(Options{})), f.host()+"/r")
	asked := ""
	f.setFault(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method == http.MethodPut {
			asked = req.Header.Get("If-Match")
			w.WriteHeader(http.StatusPreconditionFailed)
		}
		return req.Method == http.MethodPut
	})
	_, err := r.Put(t.Context(), "v1", ocispec.MediaTypeImageIndex, one, PutOptions{IfMatch: digest.FromBytes(two)})
	if !errors.Is(err, ErrChanged) || asked != `"`+digest.FromBytes(two).String()+`"` {
		t.Errorf("412 gave %v; If-Match was %s", err, asked)
	}
}

// TestReadersNeedNoRight: reading asks for no right to write, and writes are
// asked for where reading alone is denied because there is nothing yet.
func TestReadersNeedNoRight(t *testing.T) {
	f := newFake(t, false)
	var scopes []string
	tokens := tokenServer(t, f, func(r *http.Request) bool {
		scopes = append(scopes, r.URL.Query()["scope"]...)
		return true
	})
	f.setFault(wantBearer(tokens.URL))
	c := testClient(t, insecure(Options{}))
	r := openRepository(t, c, f.host()+"/x")
	_, _, err := r.Get(t.Context(), "v1")
	wantNotFound(t, err)
	if !slices.Equal(scopes, []string{"repository:x:pull"}) {
		t.Errorf("asked for %q", scopes)
	}
}

// TestNotThereYet: who may create a repository learns that it is not there,
// also where others are only told that they may not read it.
func TestNotThereYet(t *testing.T) {
	for _, mayWrite := range []bool{true, false} {
		f := newFake(t, false)
		tokens := tokenServer(t, f, func(r *http.Request) bool {
			return mayWrite && r.URL.Query().Get("scope") == "repository:x:pull,push"
		})
		f.setFault(wantBearer(tokens.URL))
		_, _, err := openRepository(t, testClient(t, insecure(Options{})), f.host()+"/x").Get(t.Context(), "v1")
		var denied *AuthError
		if mayWrite {
			wantNotFound(t, err)
		} else if !errors.As(err, &denied) {
			t.Errorf("got %v", err)
		}
	}
}

func TestRepositoryInterrupted(t *testing.T) {
	for name, ref := range places(t) {
		ctx, cancel := context.WithCancel(t.Context())
		c := testClient(t, insecure(Options{Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}))
		r := openRepository(t, c, ref)
		cancel()
		_, one := indexOf(t, "1")
		_, err1 := r.Tags(ctx)
		_, _, err2 := r.Get(ctx, "v1")
		_, err3 := r.Put(ctx, "v1", ocispec.MediaTypeImageIndex, one, PutOptions{})
		for i, err := range []error{err1, err2, err3} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s, call %d: %v", name, i, err)
			}
		}
	}
}
