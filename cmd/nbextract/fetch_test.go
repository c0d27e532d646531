package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/nbpack/nbpack/extract/fetch"
	"github.com/nbpack/nbpack/internal/testserver"
)

// guard is a registry that asks for credentials in its own way, and hands its
// blobs over to another host.
type guard struct {
	*httptest.Server
	inner http.Handler

	mu     sync.Mutex
	scheme string // "basic", "token", "access_token", "anonymous"; empty: open
	told   []string
	stray  []string // Authorization headers that came to the other host
	cdn    *httptest.Server
}

func newGuard(t *testing.T) *guard {
	g := &guard{inner: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	g.cdn = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.stray = append(g.stray, r.Header.Get("Authorization"))
		g.mu.Unlock()
		g.inner.ServeHTTP(w, r)
	}))
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.cdn.Close)
	t.Cleanup(g.Close)
	return g
}

func (g *guard) host() string { return g.Listener.Addr().String() }

// protect makes the registry ask, and forgets what it was told.
func (g *guard) protect(scheme string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.scheme, g.told, g.stray = scheme, nil, nil
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	scheme := g.scheme
	g.mu.Unlock()
	user, pass, _ := r.BasicAuth()
	switch {
	case scheme == "":
		g.inner.ServeHTTP(w, r)
		return
	case r.URL.Path == "/token":
		g.giveToken(w, scheme, user, pass)
		return
	case scheme == "basic" && (user != "robot" || pass != "pa:ss"):
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	case scheme != "basic" && r.Header.Get("Authorization") != "Bearer good":
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registry",scope="repository:boot:pull"`, g.URL))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
		http.Redirect(w, r, g.cdn.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return
	}
	g.inner.ServeHTTP(w, r)
}

// giveToken is the token server: for robots with a password, for those with a
// bare token, and in the anonymous way for those without anything.
func (g *guard) giveToken(w http.ResponseWriter, scheme, user, pass string) {
	g.mu.Lock()
	g.told = append(g.told, user+":"+pass)
	g.mu.Unlock()
	good := user == "robot" && pass == "pa:ss" || user == "" && pass == "bare-token"
	if scheme == "anonymous" {
		scheme, good = "token", user == "" && pass == ""
	}
	if !good {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{scheme: "good"})
}

// TestFetchCredentials: each way to know a secret, on each kind of registry.
func TestFetchCredentials(t *testing.T) {
	g := newGuard(t)
	kernel := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(kernel, []byte("kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(nbpackPath(t), "build", "--tls-verify=false", "--format", "file", "--platform", "amd64", kernel, g.host()+"/boot:v").Output()
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(string(out))

	secrets := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(secrets, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	auths := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, g.host(), base64.StdEncoding.EncodeToString([]byte("robot:pa:ss")))
	authfile := file("auth.json", auths)
	file("docker/.docker/config.json", auths)
	empty := file("empty.json", `{"auths":{}}`)

	// Which registries let a caller in: b(asic), t(oken), A(ccess_token), a(nonymous).
	for _, tt := range []struct {
		name string
		args []string
		env  map[string]string
		in   string
	}{
		{"nothing", nil, nil, "a"},
		{"an empty file", []string{"--authfile", empty}, nil, "a"},
		{"user and password", []string{"--pull-secret", "robot:pa:ss"}, nil, "btA"},
		{"bare token", []string{"--pull-secret", "bare-token"}, nil, "tA"},
		{"wrong secret", []string{"--pull-secret", "robot:guess"}, nil, ""},
		{"secret in a file", []string{"--pull-secret-file", file("secret", "robot:pa:ss\n")}, nil, "btA"},
		{"token in a file", []string{"--pull-secret-file", file("token", "bare-token\r\nsecond line")}, nil, "tA"},
		{"creds", []string{"--creds", "robot:pa:ss"}, nil, "btA"},
		{"authfile", []string{"--authfile", authfile}, nil, "btA"},
		{"REGISTRY_AUTH_FILE", nil, map[string]string{"REGISTRY_AUTH_FILE": authfile}, "btA"},
		{"docker's file", nil, map[string]string{"HOME": filepath.Join(secrets, "docker")}, "btA"},
		{"the secret wins", []string{"--pull-secret", "robot:pa:ss", "--authfile", empty}, nil, "btA"},
	} {
		for key, scheme := range map[string]string{"b": "basic", "t": "token", "A": "access_token", "a": "anonymous"} {
			t.Run(scheme+" "+tt.name, func(t *testing.T) {
				t.Setenv("HOME", t.TempDir())
				t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
				t.Setenv("REGISTRY_AUTH_FILE", "")
				for k, v := range tt.env {
					t.Setenv(k, v)
				}
				g.protect(scheme)
				target := filepath.Join(t.TempDir(), "vmlinuz")
				args := append([]string{"fetch", "--tls-verify=false", url, "-o", target}, tt.args...)
				code, _, errs := nbextract(t, args...)
				b, _ := os.ReadFile(target)
				if in := strings.Contains(tt.in, key); in != (code == 0) || in != (string(b) == "kernel") {
					t.Errorf("exit %d, %s", code, errs)
				}
				if code != 0 && !strings.Contains(errs, "denies access") {
					t.Errorf("no word about the access: %s", errs)
				}
				for _, secret := range []string{"pa:ss", "bare-token", "guess"} {
					if strings.Contains(errs, secret) {
						t.Errorf("the secret is shown: %s", errs)
					}
				}
				g.mu.Lock()
				defer g.mu.Unlock()
				if code == 0 && len(g.stray) != 1 || strings.Join(g.stray, "") != "" {
					t.Errorf("the other host got %q", g.stray)
				}
			})
		}
	}
}

// TestFetchFromRealRegistry: docker-registry with htpasswd, which is Basic, and
// everything that fetch asks of a registry: tags in pages, an index, a blob.
func TestFetchFromRealRegistry(t *testing.T) {
	host := runRegistryWithPassword(t)
	t.Setenv("HOME", t.TempDir())
	creds := []string{"--tls-verify=false", "--creds", "robot:pa:ss"}
	disk := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(disk, bytes.Repeat([]byte("disk "), 1<<18), 0o644); err != nil {
		t.Fatal(err)
	}
	var url string
	for _, tag := range []string{"a", "latest", "z"} {
		args := append([]string{"build", "--format", "file", "--platform", "arm64", disk, host + "/ns/images:" + tag}, creds...)
		out, err := exec.Command(nbpackPath(t), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("nbpack build: %v\n%s", err, out)
		}
		url = strings.TrimSpace(string(out))
	}
	target := filepath.Join(t.TempDir(), "disk")
	run := func(ref string, args ...string) (int, fetch.Result, string) {
		args = append([]string{"fetch", "--tls-verify=false", "--json", ref, "-o", target}, args...)
		code, out, errs := nbextract(t, args...)
		var r fetch.Result
		if code == 0 {
			if err := json.Unmarshal([]byte(out), &r); err != nil {
				t.Fatal(err)
			}
		}
		return code, r, errs
	}
	for _, args := range [][]string{nil, {"--pull-secret", "robot:wrong"}, {"--pull-secret", "pa:ss"}, {"--pull-secret", "token"}} {
		if code, _, errs := run(url, args...); code != 1 || !strings.Contains(errs, "denies access") {
			t.Errorf("%q: exit %d, %s", args, code, errs)
		}
	}
	secret := []string{"--pull-secret", "robot:pa:ss"}
	code, r, errs := run("oci://"+host+"/ns/images", secret...)
	if code != 0 || !r.Changed || r.URL != url || r.Format != "raw" || r.Size != 5<<18 {
		t.Errorf("by tag: exit %d, %+v, %s", code, r, errs)
	}
	want, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, want) {
		t.Errorf("another disk arrived, %v", err)
	}
	if code, r, errs = run(url, secret...); code != 0 || r.Changed || r.Format != "unknown" {
		t.Errorf("by digest: exit %d, %+v, %s", code, r, errs)
	}
	if code, _, errs = run("oci://"+host+"/ns/images:b", secret...); code != 4 {
		t.Errorf("no such tag: exit %d, %s", code, errs)
	}
	if code, _, errs = run("oci://"+host+"/ns/none", secret...); code != 4 {
		t.Errorf("no such repository: exit %d, %s", code, errs)
	}
}

// runRegistryWithPassword starts docker-registry for robot, whose password is
// "pa:ss", and gives its address.
func runRegistryWithPassword(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"htpasswd": "robot:$2y$05$nbpackTestSaltForHtpaeBzedxb8kKuxGJR3k4Ij1u27AnIKGpMa\n"})
	return testserver.Registry(t, fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", filepath.Join(dir, "htpasswd")))
}
