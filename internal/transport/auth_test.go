package transport

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
)

func authFile(t testing.TB, key, entry string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "auth.json")
	write(t, name, fmt.Sprintf(`{"auths":{%q:%s}}`, key, entry))
	return name
}

func basicEntry(user, pass string) string {
	return `{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":"+pass)) + `"}`
}

func needBasic(w http.ResponseWriter, r *http.Request) bool {
	if u, p, ok := r.BasicAuth(); ok && u == "user" && p == "pa:ss" {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

func TestBasicAuth(t *testing.T) {
	im := makeImage(t, "x", "y", "z")
	f := newFake(t, false)
	f.put(t, "ns/r", "v1", im)
	for _, tt := range []struct {
		name string
		o    Options
		env  string
		ok   bool
	}{
		{"creds", Options{Creds: "user:pa:ss"}, "", true},
		{"wrong creds", Options{Creds: "user:wrong"}, "", false},
		{"creds for it", Options{Creds: "user:pa:ss", CredsHost: f.host()}, "", true},
		{"creds for another host", Options{Creds: "user:pa:ss", CredsHost: "registry.example"}, "", false},
		{"none", Options{}, "", false},
		{"authfile by host", Options{AuthFile: authFile(t, f.host(), basicEntry("user", "pa:ss"))}, "", true},
		{"authfile by namespace", Options{AuthFile: authFile(t, f.host()+"/ns", basicEntry("user", "pa:ss"))}, "", true},
		{"authfile for another host", Options{AuthFile: authFile(t, "registry.example", basicEntry("user", "pa:ss"))}, "", false},
		{"REGISTRY_AUTH_FILE", Options{}, authFile(t, f.host(), basicEntry("user", "pa:ss")), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("REGISTRY_AUTH_FILE", tt.env)
			t.Setenv("HOME", t.TempDir())
			f.setFault(needBasic)
			c := testClient(t, insecure(tt.o))
			err := readEverything(t, c, f.host()+"/ns/r:v1")
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if tt.ok { // one 401, then HEAD, manifest, 4 blobs
				if n := len(f.requests()); n != 1+1+1+4 {
					t.Errorf("%d requests: %q", n, f.requests())
				}
				if err := publish(t, c, f.host()+"/ns/r:v2", im); err != nil {
					t.Error(err)
				}
				return
			}
			var denied *AuthError
			if !errors.As(err, &denied) || !strings.Contains(denied.Hint(), "--authfile") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestCredsAreForOne: a second registry that asks for credentials does not see those
// that were given for the first.
func TestCredsAreForOne(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("REGISTRY_AUTH_FILE", "")
	im := makeImage(t, "x", "y", "z")
	first, second := newFake(t, false), newFake(t, false)
	first.put(t, "r", "v1", im)
	second.put(t, "r", "v1", im)
	first.setFault(needBasic)
	var mu sync.Mutex
	var seen []string
	second.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Get("Authorization"))
		return needBasic(w, r)
	})
	for _, o := range []Options{{Creds: "user:pa:ss"}, {PullSecret: "user:pa:ss"}} {
		c := testClient(t, insecure(o))
		if err := readEverything(t, c, first.host()+"/r:v1"); err != nil {
			t.Fatal(err)
		}
		err := readEverything(t, c, second.host()+"/r:v1")
		var hint interface{ Hint() string }
		if err == nil || !strings.Contains(err.Error(), first.host()) || !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "--authfile") {
			t.Errorf("the second registry: %v", err)
		}
		if err := readEverything(t, c, first.host()+"/r:v1"); err != nil {
			t.Errorf("the first one after it: %v", err)
		}
	}
	if mu.Lock(); len(seen) == 0 || strings.Join(seen, "") != "" {
		t.Errorf("the second registry got %q", seen)
	}
	mu.Unlock()
}

func TestBearer(t *testing.T) {
	im := makeImage(t, "x", "y")
	f := newFake(t, false)
	f.put(t, "ns/r", "v1", im)
	t.Setenv("HOME", t.TempDir())
	var mu sync.Mutex
	var asked []string
	record := func(ok func(r *http.Request) bool) func(r *http.Request) bool {
		return func(r *http.Request) bool {
			_ = r.ParseForm()
			mu.Lock()
			asked = append(asked, r.Method+" "+r.Form.Get("scope")+" "+r.Form.Get("service"))
			mu.Unlock()
			return ok(r)
		}
	}
	user := func(r *http.Request) bool { u, p, _ := r.BasicAuth(); return u == "user" && p == "secret" }
	for _, tt := range []struct {
		name  string
		o     Options
		check func(r *http.Request) bool
		ok    bool
		want  string
	}{
		{"anonymous", Options{}, func(r *http.Request) bool { return r.Header.Get("Authorization") == "" }, true, "GET repository:ns/r:pull the registry"},
		{"password", Options{Creds: "user:secret"}, user, true, "GET repository:ns/r:pull the registry"},
		{"wrong password", Options{Creds: "user:guess"}, user, false, "GET repository:ns/r:pull the registry"},
		{"identity token", Options{AuthFile: authFile(t, f.host(), `{"auth":"`+base64.StdEncoding.EncodeToString([]byte("u:"))+`","identitytoken":"idtok"}`)}, func(r *http.Request) bool {
			return r.Method == "POST" && r.Form.Get("refresh_token") == "idtok" && r.Form.Get("grant_type") == "refresh_token"
		}, true, "POST repository:ns/r:pull the registry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked = nil
			srv := tokenServer(t, f, record(tt.check))
			f.setFault(wantBearer(srv.URL + "/token"))
			c := testClient(t, insecure(tt.o))
			src := openSource(t, c, f.host()+"/ns/r:v1")
			_, err := src.Resolve(t.Context())
			if (err == nil) != tt.ok {
				t.Fatalf("got %v", err)
			}
			if len(asked) != 1 || asked[0] != tt.want {
				t.Errorf("the token server was asked %q", asked)
			}
			if !tt.ok {
				var denied *AuthError
				if !errors.As(err, &denied) {
					t.Errorf("got %v", err)
				}
				return
			}
			if u := src.Usage(); u.Requests != 3 {
				t.Errorf("%d requests for the first question", u.Requests)
			}
			if err := readEverything(t, c, f.host()+"/ns/r:v1"); err != nil {
				t.Error(err)
			}
			if len(asked) != 1 {
				t.Errorf("the token was not kept: %q", asked)
			}
			if err := publish(t, c, f.host()+"/ns/r:v2", makeImage(t, "pushed", tt.name)); err != nil {
				t.Error(err)
			}
			if len(asked) != 2 || !strings.Contains(asked[1], ":pull,push") {
				t.Errorf("for pushing, the token server was asked %q", asked)
			}
		})
	}
}

// TestTokenExpires: a token that stops being good is replaced, in an upload too.
func TestTokenExpires(t *testing.T) {
	f := newFake(t, false)
	t.Setenv("HOME", t.TempDir())
	srv := tokenServer(t, f, func(*http.Request) bool { return true })
	var mu sync.Mutex
	seen := map[string]int{}
	good := wantBearer(srv.URL)
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		seen[r.Method]++
		n := seen[r.Method]
		mu.Unlock()
		if n%3 == 1 {
			r.Header.Del("Authorization")
		}
		return good(w, r)
	})
	im := makeImage(t, "x", "y", "z")
	c := testClient(t, insecure(Options{}))
	if err := publish(t, c, f.host()+"/r:v1", im); err != nil {
		t.Fatal(err)
	}
	checkImage(t, c, f.host()+"/r:v1", im)
}

// TestRealms: a registry cannot have the credentials sent anywhere it likes.
func TestRealms(t *testing.T) {
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the thief was asked") }))
	defer thief.Close()
	im := makeImage(t, "x")
	for _, realm := range []string{thief.URL + "/token", "ftp://registry.example/", "//x", "", "file:///etc/passwd", "http://169.254.169.254/latest", "https://u:p@registry.example/"} {
		f := newFake(t, false)
		f.put(t, "r", "v1", im)
		f.setFault(wantBearer(realm))
		src := openSource(t, testClient(t, insecure(Options{Creds: "user:secret"})), f.host()+"/r:v1")
		_, err := src.Resolve(t.Context())
		var p *httpclient.PolicyError
		if !errors.As(err, &p) {
			t.Errorf("realm %q: %v", realm, err)
		}
		if n := len(f.requests()); n != 1 {
			t.Errorf("realm %q: %d requests", realm, n)
		}
	}
	// The registry itself may hand out tokens by plain http.
	f := newFake(t, false)
	f.put(t, "r", "v1", im)
	bearer := wantBearer(f.URL + "/token")
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			_, _ = w.Write([]byte(`{"access_token":"good"}`))
			return true
		}
		return bearer(w, r)
	})
	checkImage(t, testClient(t, insecure(Options{Creds: "user:secret"})), f.host()+"/r:v1", im)
	// A token server may not send the question on.
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
			return true
		}
		return bearer(w, r)
	})
	if _, err := openSource(t, testClient(t, insecure(Options{Creds: "user:secret"})), f.host()+"/r:v1").Resolve(t.Context()); err == nil {
		t.Error("a redirected token request was answered")
	}
	for _, answer := range []string{`{}`, `{"token":""}`, `{"token":"a\nb"}`, `x`, `{"token":"a","token":"b"}`} {
		f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				_, _ = w.Write([]byte(answer))
				return true
			}
			return bearer(w, r)
		})
		if _, err := openSource(t, testClient(t, insecure(Options{})), f.host()+"/r:v1").Resolve(t.Context()); err == nil {
			t.Errorf("token answer %s was accepted", answer)
		}
	}
}

// TestRedirects: blobs may come from elsewhere, credentials do not go there,
// nor come back from there.
func TestRedirects(t *testing.T) {
	im := makeImage(t, "the layer")
	f := newFake(t, false)
	f.put(t, "r", "v1", im)
	thief := tokenServer(t, f, func(*http.Request) bool { t.Error("the end of a redirect had a token fetched"); return true })
	var mu sync.Mutex
	var elsewhere []string
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		elsewhere = append(elsewhere, r.Header.Get("Authorization"))
		mu.Unlock()
		switch r.URL.Path {
		case "/back":
			http.Redirect(w, r, f.URL+"/hop", http.StatusTemporaryRedirect)
		case "/bearer":
			wantBearer(thief.URL)(w, r)
		case "/ask":
			w.Header().Set("WWW-Authenticate", `Basic realm="give"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = w.Write([]byte("the layer"))
		}
	}))
	defer cdn.Close()
	for _, tt := range []struct {
		to string
		ok bool
	}{{cdn.URL + "/x?sig=s3cret", true}, {cdn.URL + "/back", true}, {cdn.URL + "/ask?sig=s3cret", false}, {cdn.URL + "/bearer", false}, {"ftp://registry.example/x", false}} {
		elsewhere = nil
		var back string
		f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.URL.Path == "/hop":
				back = "seen:" + r.Header.Get("Authorization")
				_, _ = w.Write([]byte("the layer"))
			case needBasic(w, r):
			case strings.HasSuffix(r.URL.Path, im.m.Layers[0].Digest.String()):
				http.Redirect(w, r, tt.to, http.StatusTemporaryRedirect)
			default:
				return false
			}
			return true
		})
		src := openSource(t, testClient(t, insecure(Options{Creds: "user:pa:ss"})), f.host()+"/r:v1")
		// From here on credentials are sent at once, so that the answer to the
		// next request is the end of the redirects.
		if _, err := src.Resolve(t.Context()); err != nil {
			t.Fatal(err)
		}
		b, err := readBlob(t.Context(), src, im.m.Layers[0])
		if (err == nil) != tt.ok || tt.ok && string(b) != "the layer" {
			t.Errorf("%s: %q, %v", tt.to, b, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a signed URL is shown: %v", err)
		}
		for _, a := range elsewhere {
			if a != "" {
				t.Errorf("%s: credentials went to another port: %q", tt.to, a)
			}
		}
		if strings.HasSuffix(tt.to, "/back") && back != "seen:" {
			t.Errorf("credentials came back after a detour: %q", back)
		}
	}
}

func TestRedirectToPlainHTTP(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("followed") }))
	defer plain.Close()
	f := newFake(t, true)
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, plain.URL, http.StatusTemporaryRedirect)
		return true
	})
	src := openSource(t, testClient(t, Options{CertDir: certDir(t, f.Server)}), f.host()+"/r:v1")
	if _, err := src.Resolve(t.Context()); err == nil {
		t.Error("left https")
	}
}

func TestParseChallenges(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`Basic realm="x"`, "basic map[realm:x]"},
		{`Bearer realm="https://a/b",service="s, t",scope="repository:x:pull,push"`, "bearer map[realm:https://a/b scope:repository:x:pull,push service:s, t]"},
		{`basic realm=x, BEARER Realm = "y\"z"`, "basic map[realm:x];bearer map[realm:y\"z]"},
		{`Negotiate, Basic`, "negotiate map[];basic map[]"},
		{`Bearer realm="open`, "bearer map[]"},
		{`"`, ""}, {``, ""}, {`=`, ""},
	} {
		var got []string
		for _, c := range parseChallenges(tt.in) {
			got = append(got, fmt.Sprint(c.scheme, " ", c.params))
		}
		if strings.Join(got, ";") != tt.want {
			t.Errorf("%s: %q", tt.in, got)
		}
	}
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/b",service="s\"",scope=x, Basic realm=y`)
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range parseChallenges(s) {
			if c.scheme == "" {
				t.Fatal("no scheme")
			}
		}
		if u, err := checkRealm(s, &url.URL{Scheme: "http", Host: "registry.example:5000"}); err == nil && u.Scheme != "https" && u.Host != "registry.example:5000" {
			t.Fatalf("%q was allowed", s)
		}
	})
}
