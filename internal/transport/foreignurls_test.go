package transport

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestMirrorRedirects: a mirror chooses the way to public places only.
func TestMirrorRedirects(t *testing.T) {
	content := noise(2 << 20)
	home, im := blobFake(t, content, goodRanges(content))
	inner := newMirror(t, goodRanges(content))
	m := newMirror(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL+"/secret", 307) })
	// Its name resolves, so that the address is seen when the connection is made.
	byName := newMirror(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(inner.URL, "127.0.0.1", "localhost", 1)+"/secret", 307)
	})
	for _, tt := range []struct {
		name    string
		mirrors []string
		local   bool
		inner   int
		home    int
	}{
		{"to a private address", []string{m.URL}, false, 0, 1},
		{"to the name of a private address", []string{byName.URL}, false, 0, 1},
		{"allowed", []string{m.URL}, true, 1, 0},
		{"name allowed", []string{byName.URL}, true, 1, 0},
		{"to a mirror that the user named", []string{m.URL, inner.URL}, false, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, homeAsked := len(inner.requests()), len(home.requests())
			c := testClient(t, insecure(Options{PreferHTTP: yes, BlobMirrors: tt.mirrors, AllowPrivateHosts: tt.local}))
			if _, err := layerOf(t, openSource(t, c, home.host()+"/r:v1"), im); err != nil {
				t.Fatal(err)
			}
			if n, h := len(inner.requests())-asked, len(home.requests())-homeAsked; n != tt.inner || h != tt.home {
				t.Errorf("%d requests to the inside, %d home", n, h)
			}
		})
	}
}

// TestForeignURLs: what an image names is read from where the user says, and
// nowhere else.
func TestForeignURLs(t *testing.T) {
	content := noise(3 << 20)
	have := newMirror(t, goodRanges(content))
	lies := newMirror(t, flipped(content, 7))
	leads := newMirror(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, have.URL+"/x", 302) })
	hostOf := func(m *mirrorServer) string { return m.Listener.Addr().String() }
	all := []string{hostOf(have), hostOf(lies), hostOf(leads)}
	for _, tt := range []struct {
		name  string
		urls  []string
		hosts []string
		local bool
		asked int // the one that has it
		ok    bool
		home  http.HandlerFunc
	}{
		{"allowed", []string{have.URL + "/a?b=c#d"}, all, true, 1, true, status(404)},
		{"nothing allowed", []string{have.URL + "/a"}, nil, true, 0, false, status(404)},
		{"another host", []string{have.URL + "/a"}, []string{"cdn.example"}, true, 0, false, status(404)},
		{"the host at another port", []string{have.URL + "/a"}, []string{"127.0.0.1"}, true, 0, false, status(404)},
		{"private, not allowed", []string{have.URL + "/a"}, all, false, 0, false, status(404)},
		{"registry has it", []string{have.URL + "/a"}, all, true, 0, true, goodRanges(content)},
		{"first lies", []string{lies.URL + "/a", have.URL + "/a"}, all, true, 1, true, status(404)},
		{"all lie", []string{lies.URL + "/a", lies.URL + "/b"}, all, true, 0, false, status(404)},
		{"redirect to an allowed host", []string{leads.URL + "/a"}, all, true, 1, true, status(404)},
		{"redirect to another host", []string{leads.URL + "/a"}, []string{hostOf(leads)}, true, 0, false, status(404)},
		{"no URLs of the web", []string{"file:///etc/passwd", "%zz", "//x", "ftp://127.0.0.1/"}, all, true, 0, false, status(404)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home, im := blobFake(t, content, locked(tt.home))
			im.m.Layers[0].URLs = tt.urls
			before := len(have.requests())
			c := testClient(t, insecure(Options{PreferHTTP: yes, Creds: "user:pass", URLHosts: tt.hosts, AllowPrivateHosts: tt.local}))
			src := openSource(t, c, home.host()+"/r:v1")
			b, err := layerOf(t, src, im)
			if (err == nil) != tt.ok || tt.ok && len(b) != len(content) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if err != nil && !errors.As(err, new(*NotFoundError)) {
				t.Errorf("not the error of the registry: %v", err)
			}
			if n := len(have.requests()) - before; n != tt.asked {
				t.Errorf("%d requests", n)
			}
			if !tt.ok {
				return
			}
			if err := wantParts(t, src, im, content); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestForeignURLsHint: the user is told what would help.
func TestForeignURLsHint(t *testing.T) {
	home, im := blobFake(t, noise(100), status(404))
	im.m.Layers[0].URLs = []string{"https://cdn.example/x"}
	_, err := layerOf(t, openSource(t, testClient(t, insecure(Options{PreferHTTP: yes})), home.host()+"/r:v1"), im)
	var absent *NotFoundError
	if !errors.As(err, &absent) || !strings.Contains(absent.Hint(), `"cdn.example"; --allow-url-host`) {
		t.Errorf("%v", err)
	}
}
