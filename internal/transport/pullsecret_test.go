package transport

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestPullSecret: one word of a secret decides whether there is a user name.
// Basic registries need one, token servers take the password of nobody.
func TestPullSecret(t *testing.T) {
	im := makeImage(t, "x", "y")
	f := newFake(t, false)
	f.put(t, "ns/r", "v1", im)
	t.Setenv("HOME", t.TempDir())
	other := authFile(t, f.host(), basicEntry("somebody", "else"))
	for _, tt := range []struct {
		secret     string
		user, pass string // what the token server must be told
		basic      bool   // good for a registry that wants user:pa:ss
	}{
		{"user:pa:ss", "user", "pa:ss", true},
		{"bare-token", "", "bare-token", false},
		{":bare-token", "", "bare-token", false},
		{"user:", "user", "", false},
		{"wrong:guess", "wrong", "guess", false},
	} {
		o := insecure(Options{PullSecret: tt.secret, AuthFile: other}) // the secret wins
		t.Run("bearer "+tt.secret, func(t *testing.T) {
			srv := tokenServer(t, f, func(r *http.Request) bool {
				user, pass, ok := r.BasicAuth()
				if !ok || user != tt.user || pass != tt.pass {
					t.Errorf("the token server was told %q %q", user, pass)
				}
				return true
			})
			f.setFault(wantBearer(srv.URL))
			checkImage(t, testClient(t, o), f.host()+"/ns/r:v1", im)
		})
		t.Run("basic "+tt.secret, func(t *testing.T) {
			var mu sync.Mutex
			var sent []string
			f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				mu.Lock()
				sent = append(sent, r.Header.Get("Authorization"))
				mu.Unlock()
				return needBasic(w, r)
			})
			err := readEverything(t, testClient(t, o), f.host()+"/ns/r:v1")
			var denied *AuthError
			if tt.basic != (err == nil) || err != nil && !errors.As(err, &denied) {
				t.Errorf("got %v", err)
			}
			// Half a credential is not shown to a registry that wants a whole one.
			if tt.user == "" && (strings.Join(sent, "") != "" || !strings.Contains(err.Error(), "not a bare token")) {
				t.Errorf("sent %q, got %v", sent, err)
			}
		})
	}
	if _, err := NewClient(Options{Creds: "a:b", PullSecret: "c"}); err == nil {
		t.Error("credentials and a pull secret at once")
	}
}

// TestPullSecretStaysHome: a mirror asks for credentials and gets none of them.
func TestPullSecretStaysHome(t *testing.T) {
	im := makeImage(t, "x")
	home, mirror := newFake(t, false), newFake(t, false)
	home.put(t, "r", "v1", im)
	t.Setenv("HOME", t.TempDir())
	home.setFault(needBasic)
	mirror.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("the mirror was sent %q", got)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	conf := t.TempDir() + "/registries.conf"
	write(t, conf, "[[registry]]\nlocation = \""+home.host()+"\"\ninsecure = true\n[[registry.mirror]]\nlocation = \""+mirror.host()+"\"\ninsecure = true\n")
	c := testClient(t, Options{PullSecret: "user:pa:ss", RegistriesConf: conf})
	checkImage(t, c, home.host()+"/r:v1", im)
	if len(mirror.requests()) == 0 {
		t.Error("the mirror was not asked at all")
	}
}
