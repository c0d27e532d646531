package transport

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/transport/httpclient"
)

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func openSource(t testing.TB, c *Client, ref string) Source {
	t.Helper()
	src, err := c.Source(t.Context(), mustRef(t, ref))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

// TestRegistryRoundTrip: push, list, read back, and ask again with one HEAD.
func TestRegistryRoundTrip(t *testing.T) {
	for _, secure := range []bool{false, true} {
		f := newFake(t, secure)
		o := insecure(Options{UserAgent: "nbpack-test"})
		if secure {
			o = Options{CertDir: certDir(t, f.Server)}
		}
		c := testClient(t, o)
		im := makeImage(t, "layer 1", "layer 2", "layer 3", "layer 4", "layer 5")
		to := f.host() + "/some/repo:v1"
		for range 2 { // the second time nothing is uploaded
			if err := publish(t, c, to, im); err != nil {
				t.Fatal(err)
			}
		}
		uploads := 0
		for _, r := range f.requests() {
			if strings.HasPrefix(r, "POST") {
				uploads++
			}
		}
		if uploads != 6 {
			t.Errorf("%d uploads of 6 blobs", uploads)
		}
		checkImage(t, c, to, im)
		checkImage(t, c, f.host()+"/some/repo:wrong@"+im.desc.Digest.String(), im)
		tags, err := c.Tags(t.Context(), mustRef(t, to))
		if err != nil || len(tags) != 1 || tags[0] != "v1" {
			t.Errorf("tags %q, %v", tags, err)
		}
		f.setFault(nil)
		src := openSource(t, c, to)
		if _, err := src.Resolve(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := f.requests(); len(got) != 1 || src.Usage() != (Usage{Requests: 1}) {
			t.Errorf("no-change: %q, usage %+v", got, src.Usage())
		}
		want := map[bool]string{false: "http", true: "https"}[secure]
		if src.Scheme() != want {
			t.Errorf("scheme %q", src.Scheme())
		}
		_, err = openSource(t, c, f.host()+"/some/repo:none").Resolve(t.Context())
		wantNotFound(t, err)
		_, err = c.Tags(t.Context(), mustRef(t, f.host()+"/nothing/there"))
		wantNotFound(t, err)
		if !secure {
			checkSkopeo(t, mustRef(t, to).String(), im, "--tls-verify=false")
		}
	}
}

func TestSchemes(t *testing.T) {
	plain, secure := newFake(t, false), newFake(t, true)
	im := makeImage(t, "x")
	plain.put(t, "r", "v1", im)
	secure.put(t, "r", "v1", im)
	yes, no := true, false
	prefer := func(string) bool { return true }
	conf := filepath.Join(t.TempDir(), "registries.conf")
	write(t, conf, fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry]]\nlocation = %q\nblocked = true\n", plain.host(), "blocked.example"))
	for _, tt := range []struct {
		name   string
		f      *fakeRegistry
		o      Options
		scheme string // empty: fails
		n      int    // requests that the registry sees
	}{
		{"plain http needs permission", plain, Options{}, "", 0},
		{"plain http with --tls-verify", plain, Options{TLSVerify: &yes}, "", 0},
		{"plain http allowed", plain, Options{TLSVerify: &no}, "http", 1},
		{"plain http expected", plain, Options{TLSVerify: &no, PreferHTTP: prefer}, "http", 1},
		{"plain http expected but not allowed", plain, Options{PreferHTTP: prefer}, "", 0},
		{"plain http by registries.conf", plain, Options{RegistriesConf: conf}, "http", 1},
		{"flag wins over registries.conf", plain, Options{RegistriesConf: conf, TLSVerify: &yes}, "", 0},
		{"unknown CA", secure, Options{}, "", 0},
		{"unknown CA allowed", secure, Options{TLSVerify: &no}, "https", 1},
		{"http expected, https it is", secure, Options{TLSVerify: &no, PreferHTTP: prefer}, "https", 1},
		{"known CA", secure, Options{CertDir: certDir(t, secure.Server)}, "https", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.f.setFault(nil)
			src := openSource(t, testClient(t, tt.o), tt.f.host()+"/r:v1")
			_, err := src.Resolve(t.Context())
			if (err == nil) != (tt.scheme != "") || src.Scheme() != tt.scheme {
				t.Errorf("scheme %q, %v", src.Scheme(), err)
			}
			if got := tt.f.requests(); len(got) != tt.n {
				t.Errorf("the registry saw %q", got)
			}
			if err != nil && strings.Contains(tt.name, "unknown CA") || tt.name == "plain http needs permission" {
				var hint interface{ Hint() string }
				if !errors.As(err, &hint) || hint.Hint() == "" {
					t.Errorf("no hint: %v", err)
				}
			}
		})
	}
	if _, err := NewClient(Options{CertDir: filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing cert dir: %v", err)
	}
	_, err := openSource(t, testClient(t, Options{RegistriesConf: conf}), "blocked.example/r:v1").Resolve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "blocked") {
		t.Errorf("blocked registry: %v", err)
	}
}

func TestCertsD(t *testing.T) {
	f := newFake(t, true)
	im := makeImage(t, "x")
	f.put(t, "r", "v1", im)
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	writeCA(t, f.Server, mkdir(t, home, "containers", "certs.d", f.host()))
	checkImage(t, testClient(t, Options{}), f.host()+"/r:v1", im)
}

// TestStall: a registry that goes silent is left, and the rest is fetched anew.
func TestStall(t *testing.T) {
	im := makeImage(t, strings.Repeat("x", 100000))
	f := newFake(t, false)
	f.put(t, "r", "v1", im)
	f.setFault(times(2, "GET /v2/r/blobs/"+im.m.Layers[0].Digest.String(), func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(im.layers[0][:500])
			w.(http.Flusher).Flush()
		} // the second time not even a header comes
		<-r.Context().Done()
	}))
	c := testClient(t, insecure(Options{StallTimeout: 100 * time.Millisecond}))
	if err := readEverything(t, c, f.host()+"/r:v1"); err != nil {
		t.Fatal(err)
	}
}

// TestTrickle: a registry that sends a byte now and then is not waited for without
// end, however long each wait is.
func TestTrickle(t *testing.T) {
	im := makeImage(t, strings.Repeat("x", 100000))
	f := newFake(t, false)
	f.put(t, "r", "v1", im)
	var asked atomic.Int32
	f.setFault(times(1<<30, "GET /v2/r/blobs/"+im.m.Layers[0].Digest.String(), func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Length", "100000")
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	}))
	c := testClient(t, insecure(Options{StallTimeout: 100 * time.Millisecond, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}))
	err := readEverything(t, c, f.host()+"/r:v1")
	if !errors.Is(err, httpclient.ErrStalled) || !Unreachable(err) || asked.Load() != maxBreaks+1 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

func TestCancel(t *testing.T) {
	im := makeImage(t, "x")
	f := newFake(t, false)
	f.put(t, "r", "v1", im)
	ctx, cancel := context.WithCancel(t.Context())
	f.setFault(func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	src := openSource(t, testClient(t, insecure(Options{})), f.host()+"/r:v1")
	if _, err := src.Resolve(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestClosedSource(t *testing.T) {
	im := makeImage(t, strings.Repeat("x", 1<<20))
	f := newFake(t, false)
	f.put(t, "r", "v1", im)
	src := openSource(t, testClient(t, insecure(Options{})), f.host()+"/r:v1")
	r, err := src.Blob(t.Context(), im.m.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err == nil {
		t.Error("a stream of a closed source goes on to its end")
	}
}

// TestURLsIgnored: a layer cannot make this machine connect elsewhere.
func TestURLsIgnored(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("followed") }))
	defer other.Close()
	im := makeImage(t, "x")
	f := newFake(t, false)
	f.put(t, "r", "v1", im)
	src := openSource(t, testClient(t, insecure(Options{})), f.host()+"/r:v1")
	d := im.m.Layers[0]
	d.URLs = []string{other.URL + "/x"}
	if b, err := readBlob(t.Context(), src, d); err != nil || string(b) != "x" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestMirrors(t *testing.T) {
	im, stale := makeImage(t, "the new layer"), makeImage(t, "an old layer")
	for _, tt := range []struct {
		name   string
		mirror func(t *testing.T, f *fakeRegistry)
		conf   string
		want   string // who answers for the blob
	}{
		{"mirror has it", func(t *testing.T, f *fakeRegistry) { f.put(t, "m/r", "v1", im) }, "", "mirror"},
		{"mirror is empty", func(*testing.T, *fakeRegistry) {}, "", "registry"},
		{"mirror is broken", func(t *testing.T, f *fakeRegistry) {
			f.setFault(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true })
		}, "", "registry"},
		{"mirror wants a login", func(t *testing.T, f *fakeRegistry) {
			f.put(t, "m/r", "v1", im)
			f.setFault(needBasic)
		}, "", "registry"},
		{"mirror lies about manifests", func(t *testing.T, f *fakeRegistry) {
			f.put(t, "m/r", "v1", im)
			f.setFault(times(1<<30, "GET /v2/m/r/manifests", func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", mtManifest)
				_, _ = w.Write(stale.manifest)
			}))
		}, "", "mirror"},
		{"mirror for digests only has another tag", func(t *testing.T, f *fakeRegistry) {
			f.put(t, "m/r", "old", im)
			f.put(t, "m/r", "v1", stale)
		}, "pull-from-mirror = \"digest-only\"\n", "mirror"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home, mirror := newFake(t, false), newFake(t, false)
			home.put(t, "r", "v1", im)
			tt.mirror(t, mirror)
			conf := filepath.Join(t.TempDir(), "registries.conf")
			write(t, conf, fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n%s", home.host()+"/r", mirror.host()+"/m/r", tt.conf))
			var sawPassword atomic.Bool
			fault := mirror.fault
			mirror.setFault(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Authorization") != "" {
					sawPassword.Store(true)
				}
				return fault != nil && fault(w, r)
			})
			c := testClient(t, Options{RegistriesConf: conf, Creds: "user:pa:ss"})
			checkImage(t, c, home.host()+"/r:v1", im)
			from := "mirror"
			for _, r := range home.requests() {
				if strings.Contains(r, "/blobs/") {
					from = "registry"
				}
			}
			if from != tt.want {
				t.Errorf("blobs came from the %s", from)
			}
			if sawPassword.Load() {
				t.Error("the mirror got the registry's credentials")
			}
		})
	}
}

func TestBadCredentialFiles(t *testing.T) {
	if _, err := NewClient(Options{AuthFile: "/nonexistent/auth.json"}); err == nil {
		t.Error("a missing --authfile was accepted")
	}
	if _, err := NewClient(Options{Creds: ":x"}); err == nil {
		t.Error("--creds without a user was accepted")
	}
}
