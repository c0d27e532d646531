package transport

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// TestRangesRedirect: storage on another host gets the range and no password.
func TestRangesRedirect(t *testing.T) {
	content := noise(3 << 20)
	good := goodRanges(content)
	var sent, ranged atomic.Int32
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			sent.Add(1)
		}
		if r.Header.Get("Range") != "" {
			ranged.Add(1)
		}
		good(w, r)
	}))
	defer storage.Close()
	f, im := blobFake(t, content, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
			return
		}
		http.Redirect(w, r, storage.URL+"/store?signature=x", http.StatusTemporaryRedirect)
	})
	src := openSource(t, testClient(t, insecure(Options{PreferHTTP: yes, Creds: "user:pass"})), f.host()+"/r:v1")
	if _, err := readRanges(t.Context(), src, im.m.Layers[0], content, scattered()); err != nil {
		t.Fatal(err)
	}
	if sent.Load() != 0 || ranged.Load() != 1 {
		t.Errorf("the storage saw %d passwords, %d ranges", sent.Load(), ranged.Load())
	}
	if u := src.Usage(); u.Requests != 3 { // 401, redirect, storage
		t.Errorf("usage %+v", u)
	}
}

func TestRangesMirrors(t *testing.T) {
	content := noise(3 << 20)
	good := goodRanges(content)
	for _, tt := range []struct {
		name         string
		mirror, home http.HandlerFunc
		mirrorGets   int
		homeGets     int
		fallback     bool
	}{
		{"mirror has it", good, status(500), 1, 0, false},
		{"mirror lacks it", status(404), good, 1, 1, false},
		{"mirror is broken", status(500), good, 4, 1, false}, // several, one, each twice
		{"mirror ignores ranges", whole(content), good, 2, 1, false},
		{"mirror wants a login", status(401), good, 1, 1, false},
		{"mirror has another blob", otherTotal(content), good, 2, 1, false},
		{"mirror dies half way", first(1, dying(good, 80000), status(404)), good, 2, 1, false},
		{"nobody does ranges", whole(content), whole(content), 2, 2, true},
		{"mirror lacks it, home ignores ranges", status(404), whole(content), 1, 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home, im := blobFake(t, content, tt.home)
			mirror, _ := blobFake(t, content, tt.mirror)
			conf := filepath.Join(t.TempDir(), "registries.conf")
			write(t, conf, fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n", home.host()+"/r", mirror.host()+"/m/r"))
			src := openSource(t, testClient(t, Options{RegistriesConf: conf, PreferHTTP: yes}), home.host()+"/r:v1")
			_, err := readRanges(t.Context(), src, im.m.Layers[0], content, scattered())
			if tt.fallback != errors.Is(err, ErrNoRanges) || err != nil && !tt.fallback {
				t.Errorf("got %v", err)
			}
			if m, h := len(mirror.requests()), len(home.requests()); m != tt.mirrorGets || h != tt.homeGets {
				t.Errorf("%d requests to the mirror, %d to the registry", m, h)
			}
		})
	}
}
