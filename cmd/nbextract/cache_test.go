package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.podman.io/image/v5/pkg/sysregistriesv2"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/testserver"
)

// toll stands before a registry and counts who comes by.
type toll struct {
	*httptest.Server
	mu     sync.Mutex
	passed []string // METHOD PATH, with a * where nbextract asked itself
	shut   bool
}

func newToll(t *testing.T, backend string) *toll {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: backend})
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	keep := proxy.Director
	proxy.Director = func(r *http.Request) {
		host := r.Host
		keep(r)
		r.Host = host // registries make addresses of it
	}
	b := &toll{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := ""
		if strings.HasPrefix(r.UserAgent(), "nbextract/") {
			who = "*"
		}
		b.mu.Lock()
		b.passed = append(b.passed, who+r.Method+" "+r.URL.Path)
		shut := b.shut
		b.mu.Unlock()
		if shut {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *toll) host() string { return b.Listener.Addr().String() }

// count gives how many requests passed since the last call, and how many of them
// came from nbextract or asked for content.
func (b *toll) count() (all, direct, blobs int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.passed {
		if strings.HasPrefix(p, "*") {
			direct++
		}
		if strings.Contains(p, "GET ") && strings.Contains(p, "/blobs/") {
			blobs++
		}
	}
	all = len(b.passed)
	b.passed = nil
	return all, direct, blobs
}

// turn breaks every connection from now on, or lets them pass again.
func (b *toll) turn(off bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = off
}

// TestPullThroughCache: boot servers behind a registry that is the cache of
// another one, both docker-registry, found by registries.conf as a site has it.
// What a run costs each of the two is what docs/operations.md calculates with.
func TestPullThroughCache(t *testing.T) {
	origin := newToll(t, testserver.Registry(t, ""))
	cache := newToll(t, testserver.Registry(t, fmt.Sprintf("proxy: {remoteurl: %q}\n", origin.URL)))
	work, tree := t.TempDir(), t.TempDir()
	conf := filepath.Join(work, "registries.conf")
	writeTree(t, work, map[string]string{
		"registries.conf": fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n", origin.host(), cache.host()),
		"none.conf":       "",
	})
	files := bootFiles()
	writeTree(t, tree, files)
	ref := origin.host() + "/netboot:v"
	t.Setenv("CONTAINERS_REGISTRIES_CONF", filepath.Join(work, "none.conf"))
	build(t, nbpackPath(t), tree, "docker://"+ref)
	t.Setenv("CONTAINERS_REGISTRIES_CONF", conf)
	// The library reads the file once in a process, by whatever name; here the
	// commands of all tests are one process.
	sysregistriesv2.InvalidateCache()
	t.Cleanup(sysregistriesv2.InvalidateCache)
	origin.count()

	server := func(name string) string {
		dir := filepath.Join(work, name)
		writeTree(t, work, map[string]string{name + ".yaml": fmt.Sprintf("destination: %s\nimages: [{ref: %s}]\n", dir, ref)})
		return dir
	}
	live := "d/1/amd64"
	one, two, three := server("one"), server("two"), server("three")

	// The first server fills the cache; nobody but the cache asks the origin.
	first := syncJSON(t, 0, work, "one")
	if all, direct, blobs := origin.count(); first.Changed != 1 || direct != 0 || blobs == 0 || all == 0 {
		t.Errorf("first server: %+v; the origin saw %d requests, %d of nbextract, %d for blobs", first, all, direct, blobs)
	}
	checkFiles(t, filepath.Join(one, live), files)

	// The second has all content from the cache.
	cache.count()
	second := syncJSON(t, 0, work, "two")
	all, direct, blobs := origin.count()
	if second.Changed != 1 || direct != 0 || blobs != 0 {
		t.Errorf("second server: %+v; the origin saw %d requests, %d of nbextract, %d for blobs", second, all, direct, blobs)
	}
	atCache, _, _ := cache.count()
	t.Logf("a server that lacks a tree: %d requests to the cache, %d from it to the origin", atCache, all)
	checkFiles(t, filepath.Join(two, live), files)

	// Nothing changed: one question to the cache.
	still := syncJSON(t, 0, work, "one")
	atCache, _, _ = cache.count()
	all, direct, _ = origin.count()
	if still.Changed != 0 || still.Requests != 1 || atCache != 1 || direct != 0 || all > 2 {
		t.Errorf("nothing changed: %+v; the cache saw %d requests, the origin %d, %d of them of nbextract", still, atCache, all, direct)
	}
	t.Logf("an unchanged reference: %d request to the cache, %d from it to the origin", atCache, all)

	// A tag that moves is seen through the cache.
	files["initrd.img"] = "another initrd"
	writeTree(t, tree, files)
	t.Setenv("CONTAINERS_REGISTRIES_CONF", filepath.Join(work, "none.conf"))
	build(t, nbpackPath(t), tree, "docker://"+ref)
	t.Setenv("CONTAINERS_REGISTRIES_CONF", conf)
	origin.count()
	if moved := syncJSON(t, 0, work, "one"); moved.Changed != 1 {
		t.Errorf("after the tag moved: %+v", moved)
	}
	checkFiles(t, filepath.Join(one, live), files)

	// The origin is gone: the cache answers, also for a new server.
	origin.turn(true)
	if r := syncJSON(t, 0, work, "one"); r.Changed != 0 || r.Unchanged != 1 {
		t.Errorf("without the origin: %+v", r)
	}
	if r := syncJSON(t, 0, work, "three"); r.Changed != 1 {
		t.Errorf("a new server without the origin: %+v", r)
	}
	checkFiles(t, filepath.Join(three, live), files)

	// The cache is gone, the origin is back: it is asked directly.
	origin.turn(false)
	cache.turn(true)
	origin.count()
	r := syncJSON(t, 0, work, "two")
	if _, direct, _ := origin.count(); r.Changed != 1 || direct == 0 {
		t.Errorf("without the cache: %+v, %d requests of nbextract", r, direct)
	}
	checkFiles(t, filepath.Join(two, live), files)

	// Both are gone: the tree stays.
	origin.turn(true)
	if r := syncJSON(t, 1, work, "two"); len(r.Failures) != 1 || r.Failures[0].Kind != extract.FailNetwork || r.Failures[0].Since.IsZero() {
		t.Errorf("without both: %+v", r)
	}
	checkFiles(t, filepath.Join(two, live), files)
	must(t, "verify", "-d", two)
}

// syncJSON runs a catalogue of the directory work.
func syncJSON(t *testing.T, want int, work, name string) catalogrun.Report {
	t.Helper()
	code, out, errs := nbextract(t, "sync", "--json", "-c", filepath.Join(work, name+".yaml"))
	var r catalogrun.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != want {
		t.Fatalf("sync: exit %d, %v\n%s%s", code, err, out, errs)
	}
	return r
}
