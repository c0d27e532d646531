package mirror

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

func TestLocked(t *testing.T) {
	h := newHarness(t)
	h.image("a", "v", "one")
	h.mustRun(nil, "a:v")
	tree, err := openTree(h.dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	lock, err := tree.lock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := h.run(nil, "a:v"); exitCode(err) != 75 {
		t.Errorf("a locked mirror: %v", err)
	}
}

// Blobs that many images share are fetched once, whoever comes first.
func TestShared(t *testing.T) {
	h := newHarness(t)
	var refs []string
	for _, tag := range []string{"1", "2", "3", "4", "5", "6", "7", "8"} {
		h.image("a", tag, "shared")
		h.image("b", tag, "of "+tag)
		refs = append(refs, "a:"+tag, "b:"+tag)
	}
	h.asked()
	h.mustRun(func(o *Options) { o.Jobs = 8 }, refs...)
	gets := map[string]int{}
	for _, a := range h.asked() {
		if at := strings.Index(a, "/blobs/"); at > 0 {
			gets[a[at:]]++
		}
	}
	for blob, n := range gets {
		if n != 1 {
			t.Errorf("%s was asked for %d times", blob, n)
		}
	}
	if len(gets) != 10 {
		t.Errorf("%d blobs were asked for", len(gets))
	}
}

// What comes under a name that was there is later, whatever its size and however
// fast it came: web caches and rsync go by that.
func TestLater(t *testing.T) {
	h := newHarness(t)
	names := []string{
		mirrortree.Tag("a", "v") + "/m.oci-manifest", "boot/os/1/amd64/kernel", "boot/os/1/amd64/BOOT", mirrortree.TagMap,
		mirrortree.TagList("b"),
	}
	var before []os.FileInfo
	for i, content := range []string{"one", "two", "one", "two"} {
		h.artifact("a", "v", "os", map[string]string{"kernel": content, "shim.efi": "shim" + content})
		h.image("b", content, "x")
		h.mustRun(func(o *Options) { o.Prune, o.Grace, o.Force = true, -1, true }, "a:v", "b:"+content)
		var now []os.FileInfo
		for k, name := range names {
			st, err := os.Stat(filepath.Join(h.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 && st.ModTime().Unix() <= before[k].ModTime().Unix() {
				t.Errorf("%s: %v after %v", name, st.ModTime(), before[k].ModTime())
			}
			now = append(now, st)
		}
		before = now
	}
}

// A tag waits for what other jobs have brought, too: for the directories of its
// manifests with all above them, and for those of the blobs.
func TestNeeded(t *testing.T) {
	h := newHarness(t)
	h.image("a/b", "v", "one")
	h.mustRun(nil, "a/b:v")
	if err := os.Mkdir(filepath.Join(h.dir, mirrortree.Blobs, "sha512"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := openTree(h.dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	d := h.check()["a/b:v"]
	j := &job{run: &run{tree: tree}, item: item{name: "a/b"}, seen: map[digest.Digest]bool{d: true}}
	if err := j.needed(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		mirrortree.Blobs, mirrortree.Blobs + "/sha256", mirrortree.Blobs + "/sha512", "v2", "v2/a", "v2/a/b", "v2/a/b/manifests",
		mirrortree.ManifestDir("a/b", d), mirrortree.ReferrersDir("a/b"),
	}
	if got := slices.Sorted(maps.Keys(j.dirty.paths)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := tree.sync(&j.dirty); err != nil { // there are no referrers
		t.Error(err)
	}
}
