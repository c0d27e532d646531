package front

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

func newHandler(t testing.TB, tt *testTree, mirrors []*mirror, proxies ...string) *handler {
	t.Helper()
	tree, err := openTree(tt.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.root.Close() })
	h := &handler{
		tree: tree, mirrors: mirrors, memory: memory{asked: map[question]answer{}}, meter: newMeter(),
		now: time.Now, log: t.Logf, doubt: func(*mirror, digest.Digest) {},
	}
	for _, p := range proxies {
		var n Network
		if err := n.UnmarshalText([]byte(p)); err != nil {
			t.Fatal(err)
		}
		h.proxies = append(h.proxies, n)
	}
	return h
}

func TestRegistry(t *testing.T) {
	tt := newTree(t)
	d, layers := tt.image("net/boot", "v1", noise(1, 5000))
	tt.image("net/boot", "v2", noise(2, 10))
	tt.image("net/boot", "v3", noise(3, 10))
	tt.write(mirrortree.Referrers("net/boot", d.Digest), []byte(`{"schemaVersion":2,"manifests":[{"artifactType":"a","digest":"x"},{"artifactType":"b","digest":"y","odd":1.0}]}`))
	tt.write("v2/net/boot/_tags/file", []byte("no link"))
	h := newHandler(t, tt, nil)
	const immutable = "public, max-age=31536000, immutable"
	none := "sha256:" + strings.Repeat("0", 64)
	for _, test := range []struct {
		method, path string
		code         int
		mediaType    string
		digest       string
		cache        string
		body         string // the beginning; "-": as long as Content-Length says, without one
	}{
		{"GET", "/v2/", 200, "application/json", "", "", "{}"},
		{"HEAD", "/v2/net/boot/manifests/v1", 200, ocispec.MediaTypeImageManifest, d.Digest.String(), "no-cache", "-"},
		{"GET", "/v2/net/boot/manifests/v1", 200, ocispec.MediaTypeImageManifest, d.Digest.String(), "no-cache", `{"schemaVersion":2`},
		{"GET", "/v2/net/boot/manifests/" + d.Digest.String(), 200, ocispec.MediaTypeImageManifest, d.Digest.String(), immutable, `{"schemaVersion":2`},
		{"GET", "/v2/net/boot/blobs/" + layers[0].Digest.String(), 200, "application/octet-stream", layers[0].Digest.String(), immutable, string(noise(1, 5000))},
		{"HEAD", "/v2/net/boot/blobs/" + layers[0].Digest.String(), 200, "application/octet-stream", layers[0].Digest.String(), immutable, "-"},
		{"GET", "/v2/net/boot/tags/list", 200, "application/json", "", "no-cache", `{"name":"net/boot","tags":["v1","v2","v3"]}`},
		{"GET", "/v2/net/boot/tags/list?n=2", 200, "application/json", "", "no-cache", `{"name":"net/boot","tags":["v1","v2"]}`},
		{"GET", "/v2/net/boot/tags/list?n=2&last=v2", 200, "application/json", "", "no-cache", `{"name":"net/boot","tags":["v3"]}`},
		{"GET", "/v2/net/boot/tags/list?last=v1x", 200, "application/json", "", "no-cache", `{"name":"net/boot","tags":["v2","v3"]}`},
		{"GET", "/v2/net/boot/tags/list?n=0", 200, "application/json", "", "no-cache", `{"name":"net/boot","tags":[]}`},
		{"GET", "/v2/net/boot/tags/list?n=x", 400, "application/json", "", "no-store", `{"errors":[{"code":"PAGINATION_NUMBER_INVALID"`},
		{"GET", "/v2/net/boot/referrers/" + d.Digest.String(), 200, ocispec.MediaTypeImageIndex, "", "no-cache", `{"schemaVersion":2,"manifests":[{"artifactType":"a"`},
		{"GET", "/v2/net/boot/referrers/" + d.Digest.String() + "?artifactType=b", 200, ocispec.MediaTypeImageIndex, "", "no-cache", `{"manifests":[{"artifactType":"b","digest":"y","odd":1.0}],"schemaVersion":2}`},
		{"GET", "/v2/net/boot/referrers/" + none, 200, ocispec.MediaTypeImageIndex, "", "no-cache", `{"schemaVersion":2`},
		{"GET", "/v2/net/boot/manifests/none", 404, "application/json", "", "no-store", `{"errors":[{"code":"MANIFEST_UNKNOWN"`},
		{"HEAD", "/v2/net/boot/manifests/none", 404, "application/json", "", "no-store", ""},
		{"GET", "/v2/net/boot/manifests/file", 500, "application/json", "", "no-store", ""},
		{"GET", "/v2/net/boot/manifests/" + none, 404, "application/json", "", "no-store", ""},
		{"GET", "/v2/net/boot/manifests/..", 404, "application/json", "", "no-store", ""},
		{"GET", "/v2/net/boot/blobs/" + none, 404, "application/json", "", "no-store", `{"errors":[{"code":"BLOB_UNKNOWN"`},
		{"GET", "/v2/net/boot/blobs/sha256:x", 400, "application/json", "", "no-store", ""},
		{"GET", "/v2/net/boot/blobs/sha1:" + strings.Repeat("0", 40), 400, "application/json", "", "no-store", ""},
		{"GET", "/v2/none/tags/list", 404, "application/json", "", "no-store", `{"errors":[{"code":"NAME_UNKNOWN"`},
		{"GET", "/v2/Net/tags/list", 404, "application/json", "", "no-store", ""},
		{"GET", "/v2/_catalog", 404, "application/json", "", "no-store", ""},
		{"GET", "/v2/ping", 404, "application/json", "", "no-store", ""},
		{"GET", "/", 404, "application/json", "", "no-store", ""},
		{"GET", "/boot/x", 404, "application/json", "", "no-store", ""},
		{"GET", "/v2/../blobs/manifests/x", 404, "application/json", "", "no-store", ""},
		{"POST", "/v2/net/boot/blobs/uploads/", 405, "application/json", "", "no-store", `{"errors":[{"code":"UNSUPPORTED"`},
		{"PUT", "/v2/net/boot/manifests/v1", 405, "application/json", "", "no-store", ""},
		{"DELETE", "/v2/net/boot/manifests/v1", 405, "application/json", "", "no-store", ""},
	} {
		w := get(t, h, test.method, test.path)
		r := w.Result()
		if r.StatusCode != test.code || r.Header.Get("Content-Type") != test.mediaType || r.Header.Get("Docker-Content-Digest") != test.digest || r.Header.Get("Cache-Control") != test.cache {
			t.Errorf("%s %s: %d %v", test.method, test.path, r.StatusCode, r.Header)
		}
		if test.body != "-" && !strings.HasPrefix(w.Body.String(), test.body) || test.body == "-" && (w.Body.Len() > 0 || r.ContentLength <= 0) {
			t.Errorf("%s %s: %d bytes, %.100q", test.method, test.path, r.ContentLength, w.Body)
		}
	}
	if w := get(t, h, "GET", "/v2/net/boot/blobs/"+layers[0].Digest.String(), "Range", "bytes=10-19"); w.Code != 206 {
		t.Errorf("a range: %d", w.Code)
	} else {
		sameBytes(t, "a range", w.Body.Bytes(), noise(1, 5000)[10:20])
	}
	if link := get(t, h, "GET", "/v2/net/boot/tags/list?n=1").Header().Get("Link"); link != `</v2/net/boot/tags/list?last=v1&n=1>; rel="next"` {
		t.Errorf("link %q", link)
	}
	if w := get(t, h, "GET", "/v2/net/boot/manifests/v1", "If-None-Match", `"`+d.Digest.String()+`"`); w.Code != 304 {
		t.Errorf("what is known already: %d", w.Code)
	}
}

// TestRedirects: where clients are sent, and when they are not.
func TestRedirects(t *testing.T) {
	tt := newTree(t)
	_, layers := tt.image("netboot", "v1", noise(1, 5000))
	d := layers[0].Digest
	mirrors := upMirrors(t, `mirrors:
- {name: a, url: "https://a.example/x", networks: [192.0.2.0/24]}
- {name: b, url: "https://b.example/y/blobs"}
`, d)
	h := newHandler(t, tt, mirrors, "10.0.0.0/8", "::1")
	var doubted []string
	h.doubt = func(m *mirror, _ digest.Digest) { doubted = append(doubted, m.Name) }
	toA, toB := "https://a.example/x/v2/netboot/blobs/"+d.String(), "https://b.example/y/blobs/sha256/"+d.Encoded()
	target := "/v2/netboot/blobs/" + d.String()
	for _, test := range []struct {
		name   string
		header []string
		want   string // empty: the blob itself
	}{
		{"near one", []string{"remote", "192.0.2.1:1000"}, toA},
		{"near one, a second time", []string{"remote", "192.0.2.1:1001"}, toB},
		{"a third time", []string{"remote", "192.0.2.1:1001"}, ""},
		{"a fourth time", []string{"remote", "192.0.2.1:1001"}, toA},
		{"a part", []string{"remote", "192.0.2.2:1000", "Range", "bytes=0-9"}, toA},
		{"another part", []string{"remote", "192.0.2.2:1000", "Range", "bytes=10-19"}, toA},
		{"the same part again", []string{"remote", "192.0.2.2:1000", "Range", "bytes=10-19"}, toB},
		{"no copy", []string{"remote", "192.0.2.3:1000", "Cache-Control", "no-cache"}, ""},
		{"by a proxy", []string{"remote", "10.0.0.1:1000", "X-Forwarded-For", "192.0.2.4"}, toA},
		{"by two proxies", []string{"remote", "[::1]:1000", "X-Forwarded-For", "203.0.113.9, 192.0.2.5", "X-Forwarded-For", "10.9.9.9"}, toA},
		{"by somebody who says so", []string{"remote", "192.0.2.6:1000", "X-Forwarded-For", "10.0.0.1"}, toA},
		{"by a proxy that says nothing usable", []string{"remote", "10.0.0.2:1000", "X-Forwarded-For", "192.0.2.7, unknown"}, ""},
	} {
		w := get(t, h, "GET", target, test.header...)
		location := w.Header().Get("Location")
		if test.name == "by a proxy that says nothing usable" {
			if location == "" {
				t.Errorf("%s: %d", test.name, w.Code)
			}
			continue // the address of the proxy counts, and any mirror will do
		}
		if location != test.want || test.want != "" && w.Code != http.StatusTemporaryRedirect || test.want == "" && (w.Code != 200 || w.Body.Len() != 5000) {
			t.Errorf("%s: %d to %q", test.name, w.Code, location)
		}
	}
	if strings.Join(doubted, "") != "aba" {
		t.Errorf("doubts: %q", doubted)
	}
	mirrors[0].become(stateWrong, "", time.Now())
	mirrors[1].become(stateDown, "", time.Now())
	if w := get(t, h, "GET", target, "remote", "192.0.2.9:1"); w.Code != 200 || w.Body.Len() != 5000 {
		t.Errorf("no mirror is well: %d", w.Code)
	}
	var b strings.Builder
	if err := h.meter.write(&b, []Status{mirrors[0].status()}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`nbextract_front_redirects_total{mirror="a"} `, `nbextract_front_direct_total{reason="second_try"} 1`, `nbextract_front_direct_bytes_total 15000`,
		`nbextract_front_requests_total{kind="blobs",outcome="ok"} 13`, `nbextract_front_mirror_up{mirror="a",state="wrong"} 0`, "# TYPE nbextract_front_mirror_blobs gauge\nnbextract_front_mirror_blobs{mirror=\"a\"} 1\n",
	} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %s in\n%s", line, b.String())
		}
	}
}

// FuzzPaths: no path leads out of the tree, or to a crash.
func FuzzPaths(f *testing.F) {
	tt := newTree(f)
	d, _ := tt.image("a/manifests", "v1", noise(1, 10))
	tt.write("secret", []byte("secret"))
	h := newHandler(f, tt, nil)
	h.log = func(string, ...any) {}
	for _, p := range []string{"/v2/", "/v2/a/manifests/manifests/v1", "/v2/a/manifests/tags/list", "/v2/a/blobs/" + d.Digest.String(), "/v2/../secret", "/v2/a/manifests/../../../secret", "/v2//manifests/v1", "/v2/a/manifests/manifests/%2e%2e"} {
		f.Add(p, "1", "v")
	}
	f.Fuzz(func(t *testing.T, p, n, last string) {
		r, err := http.NewRequest(http.MethodGet, "http://x/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path, r.RemoteAddr = p, "192.0.2.1:1"
		r.URL.RawQuery = "n=" + n + "&last=" + last
		w := answerTo(h, r)
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%q leads to the secret", p)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %s", p, w.Body)
		}
	})
}

// deadlined notes whether an answer has a deadline.
type deadlined struct {
	*httptest.ResponseRecorder
	set bool
}

func (d *deadlined) SetWriteDeadline(at time.Time) error {
	d.set = !at.IsZero()
	return nil
}

// TestDeadlines: who reads nothing of an answer does not hold it for ever.
func TestDeadlines(t *testing.T) {
	tt := newTree(t)
	d := tt.blob([]byte("blob"))
	tt.write(mirrortree.TagList("a"), []byte(`{"name":"a","tags":["v"]}`))
	tree, err := openTree(tt.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.root.Close()
	mirrors := upMirrors(t, "mirrors: [{url: \"https://a.example\"}]\n", d.Digest)
	h := &handler{tree: tree, mirrors: mirrors, memory: memory{asked: map[question]answer{}}, meter: newMeter(), now: time.Now, log: t.Logf, doubt: func(*mirror, digest.Digest) {}}
	blob := "/v2/a/blobs/" + d.Digest.String()
	for _, step := range []struct {
		path string
		code int
	}{{"/v2/a/tags/list", 200}, {"/v2/a/referrers/" + d.Digest.String(), 200}, {blob, 307}, {blob, 200}, {"/v2/", 200}, {"/v2/b/tags/list", 404}} {
		w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, httptest.NewRequest("GET", step.path, nil))
		if w.Code != step.code || !w.set {
			t.Errorf("%s: status %d, deadline: %v", step.path, w.Code, w.set)
		}
	}
}
