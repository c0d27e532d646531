package transport

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

func TestPublic(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "192.0.2.1": true, "2600::1": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false,
		"192.168.0.1": false, "169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false,
		"224.0.0.1": false, "255.255.255.255": false, "198.18.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
		"fc00::1": false, "fec0::1": false, "ff02::1": false, "::": false, "2002:7f00:1::": false,
		// An IPv4 address behind the NAT64 of a site.
		"64:ff9b::8.8.8.8": true, "64:ff9b::127.0.0.1": false, "64:ff9b::10.1.2.3": false, "64:ff9b::169.254.169.254": false,
		"64:ff9b::100.64.0.1": false, "64:ff9b::0.0.0.0": false, "64:ff9b:1::8.8.8.8": false,
	} {
		if got := public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestGuard(t *testing.T) {
	for _, tt := range []struct {
		g    guard
		url  string
		want bool
	}{
		{guard{}, "https://cdn.example/x", true},
		{guard{}, "https://8.8.8.8/x", true},
		{guard{}, "http://127.0.0.1/x", false},
		{guard{}, "http://[::1]:80/x", false},
		{guard{}, "http://169.254.169.254/latest", false},
		{guard{}, "ftp://cdn.example/x", false},
		{guard{}, "file:///etc/passwd", false},
		{guard{}, "https://user@cdn.example/x", false},
		{guard{local: true}, "http://127.0.0.1/x", true},
		{guard{named: []string{"127.0.0.1:8080"}}, "http://127.0.0.1:8080/x", true},
		{guard{named: []string{"127.0.0.1:8080"}}, "http://127.0.0.1:22/x", false},
		{guard{hosts: []string{}}, "https://cdn.example/x", false},
		{guard{hosts: []string{"cdn.example"}}, "https://CDN.example/x", true},
		{guard{hosts: []string{"cdn.example"}}, "https://cdn.example:443/x", true},
		{guard{hosts: []string{"cdn.example:443"}}, "https://cdn.example/x", true},
		{guard{hosts: []string{"cdn.example"}}, "https://cdn.example:8443/x", false},
		{guard{hosts: []string{"cdn.example"}}, "https://a.cdn.example/x", false},
		{guard{hosts: []string{"cdn.example"}}, "https://cdn.example.evil.example/x", false},
		{guard{hosts: []string{"127.0.0.1"}}, "http://127.0.0.1/x", false},
	} {
		u, err := url.Parse(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.g.admits(u); (got == nil) != tt.want {
			t.Errorf("%+v, %s: %v", tt.g, tt.url, got)
		}
	}
}

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

// TestMirrorClientCertificate: the certificate that tells the registry who we are is
// not shown to a mirror.
func TestMirrorClientCertificate(t *testing.T) {
	dir := t.TempDir()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	writeCA(t, srv, dir)
	key, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "client.cert"), string(pemOf(srv.Certificate().Raw)))
	write(t, filepath.Join(dir, "client.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	c := testClient(t, Options{CertDir: dir})
	for _, guarded := range []bool{false, true} {
		tr, err := c.transportFor(transportKey{host: "m.example", guarded: guarded})
		if err != nil || tr.TLSClientConfig.RootCAs == nil || guarded != (tr.TLSClientConfig.Certificates == nil) {
			t.Errorf("%+v, %v", tr, err)
		}
	}
}
