package mirror

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

func prune(o *Options) { o.Prune = true }

// force is prune where one tag of two goes.
func force(o *Options) { o.Prune, o.Force = true, true }

func TestPrune(t *testing.T) {
	h := newHarness(t)
	image := h.image("a", "old", "old")
	note := h.referrer("a", image, "note")
	sig := "sha256-" + image.Digest.Encoded() + ".sig"
	h.image("a", sig, "signature")
	h.image("a", "new", "new")
	h.artifact("b", "v", "gone", map[string]string{"kernel": "kernel"})
	h.mustRun(prune, "a:old", "a:new", "b:v")
	if !h.exists("boot/gone/1/amd64/kernel") {
		t.Fatal("no boot files")
	}

	// Nothing goes at once, and nothing without the flag.
	r := h.mustRun(force, "a:new")
	if len(r.Leaving) != 2 || len(r.Removed.Tags) != 0 {
		t.Errorf("%+v", r)
	}
	h.now = h.now.Add(DefaultGrace - time.Minute)
	h.mustRun(force, "a:new")
	h.now = h.now.Add(time.Hour)
	h.mustRun(nil, "a:new")
	// What is named again is not due, however long it was not.
	h.mustRun(prune, "a:old", "a:new", "b:v")
	if tags := h.check(); len(tags) != 4 {
		t.Errorf("tags: %v", tags)
	}
	h.mustRun(force, "a:new")
	h.now = h.now.Add(DefaultGrace)
	dry, err := h.run(func(o *Options) { o.Prune, o.Force, o.DryRun = true, true, true }, "a:new")
	if err != nil || len(h.check()) != 4 {
		t.Errorf("dry run: %v", err)
	}
	r = h.mustRun(force, "a:new")
	if tags := h.check(); len(tags) != 1 || tags["a:new"] == "" {
		t.Errorf("tags: %v", tags)
	}
	want := []string{"a:old", "a:" + sig, "b:v"}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(r.Removed.Tags))
	if !slices.Equal(got, want) || !slices.Equal(dry.Removed.Tags, r.Removed.Tags) || dry.Removed.Blobs != r.Removed.Blobs || dry.Removed.Bytes != r.Removed.Bytes {
		t.Errorf("removed %+v, foretold %+v", r.Removed, dry.Removed)
	}
	for _, p := range []string{
		"boot", mirrortree.Repository("b"), mirrortree.ManifestDir("a", image.Digest), mirrortree.ManifestDir("a", note.Digest),
		mirrortree.Referrers("a", image.Digest), mirrortree.Blob(image.Digest),
		mirrortree.Blob(digest.FromString("old")), mirrortree.Blob(digest.FromString("note")), mirrortree.Blob(digest.FromString("kernel")),
	} {
		if h.exists(p) {
			t.Errorf("%q is still there", p)
		}
	}
	tagMap, _ := os.ReadFile(filepath.Join(h.dir, mirrortree.TagMap))
	if strings.Count(string(tagMap), "\n") != 1 {
		t.Errorf("tags.map: %q", tagMap)
	}
	left, err := os.ReadDir(filepath.Join(h.dir, "blobs/sha256"))
	if err != nil || len(left) != 3 { // a manifest, a config, a layer
		t.Errorf("%d blobs are left", len(left))
	}
	if b, _ := os.ReadFile(filepath.Join(h.dir, stateFile)); strings.Contains(string(b), "sha256") {
		t.Errorf("the state remembers what is gone: %s", b)
	}
}

// What a moved tag named before goes, too.
func TestPruneSuperseded(t *testing.T) {
	h := newHarness(t)
	old := h.image("a", "v", "one")
	h.mustRun(prune, "a:v")
	h.image("a", "v", "two")
	h.mustRun(prune, "a:v")
	checkManifest(t, h.dir, "a", old.Digest, true)
	h.now = h.now.Add(DefaultGrace)
	h.mustRun(prune, "a:v")
	if h.exists(mirrortree.ManifestDir("a", old.Digest)) || h.exists(mirrortree.Blob(digest.FromString("one"))) {
		t.Error("the old image is still there")
	}
}

// A list that lost its lines empties no mirror.
func TestPruneShare(t *testing.T) {
	h := newHarness(t)
	refs := []string{"a:1", "a:2", "a:3", "a:4"}
	for _, ref := range refs {
		h.image("a", ref[2:], ref)
	}
	h.mustRun(prune, refs...)
	_, err := h.run(prune, "a:1")
	var doubt *retentionError
	if !errors.As(err, &doubt) || exitCode(err) != 1 {
		t.Errorf("three of four: %v", err)
	}
	h.now = h.now.Add(DefaultGrace)
	if _, err = h.run(prune, "a:1"); !errors.As(err, &doubt) || len(h.check()) != 4 {
		t.Errorf("three of four, later: %v", err)
	}
	r := h.mustRun(func(o *Options) { o.Prune, o.Share = true, 75 }, "a:1")
	if len(r.Removed.Tags) != 3 || len(h.check()) != 1 {
		t.Errorf("%+v", r.Removed)
	}
}

// What failed is named all the same.
func TestPruneFailures(t *testing.T) {
	h := newHarness(t)
	h.image("a", "v", "one")
	h.artifact("b", "v", "os", map[string]string{"kernel": "kernel"})
	h.mustRun(prune, "a:v", "b:v", "b:*")
	h.refuse(func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/v2/b/") })
	for range 3 {
		h.now = h.now.Add(2 * DefaultGrace)
		if _, err := h.run(force, "a:v", "b:v"); err == nil {
			t.Error("no error")
		}
		if _, err := h.run(force, "a:v", "b:*"); err == nil {
			t.Error("no error")
		}
	}
	if tags := h.check(); len(tags) != 2 || !h.exists("boot/os/1/amd64/kernel") {
		t.Errorf("tags: %v", tags)
	}
	h.refuse(nil)
	// A pattern that takes nothing may be spelt wrong.
	for range 2 {
		h.now = h.now.Add(2 * DefaultGrace)
		if _, err := h.run(force, "a:v", "b:nix*"); exitCode(err) != 4 {
			t.Errorf("%v", err)
		}
	}
	if tags := h.check(); len(tags) != 2 {
		t.Errorf("tags: %v", tags)
	}
	h.mustRun(prune, "a:v", "b:v")
}

// A narrower choice of platforms lets go what it had.
func TestPrunePlatform(t *testing.T) {
	h := newHarness(t)
	h.index("a", "v", map[string]string{"amd64": "one", "arm64": "two"})
	h.mustRun(prune, "a:v")
	narrow := func(o *Options) { o.Prune, o.Platforms, o.Grace = true, []string{"amd64"}, -1 }
	h.mustRun(narrow, "a:v")
	if h.exists(mirrortree.Blob(digest.FromString("two"))) || !h.exists(mirrortree.Blob(digest.FromString("one"))) {
		t.Error("not what is named")
	}
}
