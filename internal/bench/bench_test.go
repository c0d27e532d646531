package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/testneed"
)

func TestProxyCounts(t *testing.T) {
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, r.Host)
	}))
	defer registry.Close()
	p := newProxy(strings.TrimPrefix(registry.URL, "http://"))
	before := httptest.NewServer(p)
	defer before.Close()
	resp, err := http.Post(before.URL, "text/plain", strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	host := strings.TrimPrefix(before.URL, "http://")
	if err != nil || string(body) != "12345"+host {
		t.Errorf("the registry sees itself as %q: %v", body, err)
	}
	if requests, bytes := p.take(); requests != 1 || bytes != int64(2*5+len(host)) {
		t.Errorf("%d requests, %d bytes", requests, bytes)
	}
	if requests, bytes := p.take(); requests != 0 || bytes != 0 {
		t.Error("counts are not taken")
	}
}

// TestNoTrees: where there is nothing to measure with, the error says so, and servers
// that run already are stopped.
func TestNoTrees(t *testing.T) {
	testneed.Tool(t, "docker-registry")
	o := options{bin: "bin", series: filepath.Join(t.TempDir(), "none"), versions: []string{"1"}}
	if _, err := newStand(t.Context(), nil, o, t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestTables(t *testing.T) {
	table := newTable("a run", "floor")
	table.add(0, "tool", figures{settled: time.Hour, requests: 7, bytes: 1500000}, nil)
	for i, wall := range []time.Duration{3, 1, 2} {
		table.add(1+i, "floor", figures{settled: wall * time.Second}, nil)
		table.add(1+i, "tool", figures{settled: 3 * wall * time.Second, rss: 2048}, nil)
	}
	table.add(1, "broken", figures{}, errors.New("no"))
	text := table.markdown()
	for _, want := range []string{"**A run**", "| tool | 0.00 | 6.00 | 3.00 | 0.000 | 2 | 7 | 1.500 |", "| broken | failed |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}

	name := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(name, []byte("a\n<!-- bench x -->\nold\n<!-- end of bench x -->\nb\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := replaceTable(name, "x", "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if want := "a\n<!-- bench x -->\nnew\n<!-- end of bench x -->\nb\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if err := replaceTable(name, "y", ""); err == nil {
		t.Error("a table without a place is written somewhere")
	}
}

// TestCheck: a long bench does not end in a word that was wrong from the beginning.
func TestCheck(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.md")
	if err := os.WriteFile(out, []byte("<!-- bench pull -->\n<!-- end of bench pull -->\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	good := options{versions: []string{"1", "2", "3"}, rounds: 1, scenarios: []string{"pull"}, out: out, without: []string{"skopeo, umoci"}}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(*options){
		"three versions":           func(o *options) { o.rounds = 0 },
		`no tool is called "skop"`: func(o *options) { o.without = []string{"skop"} },
		`no scenario is called`:    func(o *options) { o.scenarios = []string{"pull", "pill"} },
		"no place for the table":   func(o *options) { o.scenarios = []string{"pull", "pack"} },
		"no such file":             func(o *options) { o.out += "x" },
	} {
		o := good
		spoil(&o)
		if err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestMedianTakesEachFigure(t *testing.T) {
	got := median([]figures{{wall: 3, rss: 1}, {wall: 1, rss: 3}, {wall: 2, rss: 2}})
	if got.wall != 2 || got.rss != 2 {
		t.Errorf("%+v", got)
	}
}

// TestPlaceTwice: the trees are links of the user's files, which must stay as they are.
func TestPlaceTwice(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := place(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(from); err != nil || string(got) != "content" {
		t.Errorf("the file of the user is %q now: %v", got, err)
	}
	if err := place(filepath.Join(dir, "none"), to+"2"); err == nil {
		t.Error("a file that is missing is placed")
	}
}

// TestFloorAgain: only a registry that says what the tag names has answered.
func TestFloorAgain(t *testing.T) {
	named := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && r.Header.Get("Accept") != "" {
			w.Header().Set("Docker-Content-Digest", "sha256:1")
		}
	})
	for name, c := range map[string]struct {
		registry http.Handler
		ok       bool
	}{"named": {named, true}, "no digest": {http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), false}, "not there": {http.NotFoundHandler(), false}} {
		server := httptest.NewServer(c.registry)
		if err := floorAgain(t.Context(), server.URL); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		server.Close()
	}
}
