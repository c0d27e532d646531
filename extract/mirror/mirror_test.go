package mirror

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

func TestRun(t *testing.T) {
	h := newHarness(t)
	index := h.index("os/netboot", "v1", map[string]string{"amd64": "a", "arm64": "b"})
	image := h.image("tool", "latest", "a") // one layer with the other
	note := h.referrer("os/netboot", index, "signed")
	second := h.referrer("os/netboot", note, "countersigned")
	sig := "sha256-" + image.Digest.Encoded() + ".sig"
	signature := h.image("tool", sig, "a signature")

	r := h.mustRun(nil, "os/netboot:v1", "tool")
	if r.Changed != 2 || r.Missing == 0 || len(r.Images) != 2 || r.Images[0].Digest != index.Digest {
		t.Errorf("first run: %+v", r)
	}
	want := map[string]digest.Digest{"os/netboot:v1": index.Digest, "tool:latest": image.Digest, "tool:" + sig: signature.Digest}
	if got := h.check(); !maps.Equal(got, want) {
		t.Errorf("tags: %v, want %v", got, want)
	}
	for _, pair := range [][2]ocispec.Descriptor{{index, note}, {note, second}} {
		subject, referrer := pair[0], pair[1]
		var list ocispec.Index
		b, err := os.ReadFile(filepath.Join(h.dir, mirrortree.Referrers("os/netboot", subject.Digest)))
		if err == nil {
			err = json.Unmarshal(b, &list)
		}
		if err != nil || len(list.Manifests) != 1 {
			t.Fatalf("referrers of %s: %v, %s", subject.Digest, err, b)
		}
		if got := list.Manifests[0]; got.Digest != referrer.Digest || got.Size != referrer.Size || got.ArtifactType != "application/x-note" || got.Annotations["note"] == "" {
			t.Errorf("referrers of %s: %s", subject.Digest, b)
		}
		checkManifest(t, h.dir, "os/netboot", referrer.Digest, true)
	}
	tagMap, _ := os.ReadFile(filepath.Join(h.dir, mirrortree.TagMap))
	if !strings.Contains(string(tagMap), "os/netboot:v1 "+index.Digest.String()+"\n") {
		t.Errorf("tags.map: %s", tagMap)
	}

	before := h.snapshot()
	h.asked()
	r = h.mustRun(nil, "os/netboot:v1", "tool")
	asked := h.asked()
	slices.Sort(asked)
	if want := []string{"HEAD /v2/os/netboot/manifests/v1", "HEAD /v2/tool/manifests/latest"}; !slices.Equal(asked, want) {
		t.Errorf("the second run asked %q, want %q", asked, want)
	}
	if r.Changed != 0 || r.Unchanged != 2 || r.Requests != 2 {
		t.Errorf("second run: %+v", r)
	}
	if !maps.Equal(before, h.snapshot()) {
		t.Error("the second run changed the tree")
	}
}

func TestMove(t *testing.T) {
	h := newHarness(t)
	old := h.image("a", "v", "one")
	h.mustRun(nil, "a:v")
	next := h.image("a", "v", "two")
	if r := h.mustRun(nil, "a:v"); r.Changed != 1 {
		t.Errorf("%+v", r)
	}
	if got := h.check()["a:v"]; got != next.Digest {
		t.Errorf("the tag names %s", got)
	}
	checkManifest(t, h.dir, "a", old.Digest, true) // for who is still reading it
}

// What is attached later is found when it is asked for in every run.
func TestAttachments(t *testing.T) {
	h := newHarness(t)
	image := h.image("a", "v", "one")
	h.mustRun(nil, "a:v")
	note := h.referrer("a", image, "late")
	list := mirrortree.Referrers("a", image.Digest)
	h.mustRun(nil, "a:v")
	if h.exists(list) {
		t.Error("a run over what did not move asked for referrers")
	}
	h.mustRun(func(o *Options) { o.Attachments = AttachmentsAlways }, "a:v")
	if !h.exists(list) {
		t.Error("no list of referrers")
	}
	checkManifest(t, h.dir, "a", note.Digest, true)

	h = newHarness(t)
	h.referrer("a", h.image("a", "v", "one"), "note")
	h.mustRun(func(o *Options) { o.Attachments = AttachmentsNever }, "a:v")
	if h.exists(mirrortree.ReferrersDir("a")) {
		t.Error("referrers were brought")
	}
}

func TestRepair(t *testing.T) {
	h := newHarness(t)
	image := h.image("a", "v", "content")
	h.mustRun(nil, "a:v")
	blob := filepath.Join(h.dir, mirrortree.Blob(digest.FromString("content")))
	manifest := filepath.Join(h.dir, mirrortree.Blob(image.Digest))
	damage := func(file, content string) func() {
		return func() {
			if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte(content), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		harm     func()
		checksum bool
	}{
		"blob lost":         {func() { _ = os.Remove(blob) }, false},
		"blob cut":          {damage(blob, "cont"), false},
		"blob changed":      {damage(blob, "CONTENT"), true},
		"manifest lost":     {func() { _ = os.Remove(manifest) }, false},
		"manifest changed":  {damage(manifest, "{}"), false},
		"link lost":         {func() { _ = os.RemoveAll(filepath.Join(h.dir, mirrortree.ManifestDir("a", image.Digest))) }, false},
		"tag lost":          {func() { _ = os.Remove(filepath.Join(h.dir, mirrortree.Tag("a", "v"))) }, false},
		"list of tags lost": {func() { _ = os.Remove(filepath.Join(h.dir, mirrortree.TagList("a"))) }, false},
		"everything lost":   {func() { _ = os.RemoveAll(filepath.Join(h.dir, mirrortree.V2)) }, false},
		"state lost":        {func() { _ = os.RemoveAll(filepath.Join(h.dir, mirrortree.State)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.harm()
			h.t = t
			h.mustRun(func(o *Options) { o.Checksum = c.checksum }, "a:v")
		})
	}
}

func TestPlatforms(t *testing.T) {
	h := newHarness(t)
	index := h.index("a", "v", map[string]string{"amd64": "for amd64", "arm64": "for arm64", "s390x": "for s390x"})
	h.mustRun(func(o *Options) { o.Platforms = []string{"x86_64", "linux/arm64", "riscv64"} }, "a:v")
	if got := h.check()["a:v"]; got != index.Digest {
		t.Errorf("the index is another one: %s", got)
	}
	for content, want := range map[string]bool{"for amd64": true, "for arm64": true, "for s390x": false} {
		if got := h.exists(mirrortree.Blob(digest.FromString(content))); got != want {
			t.Errorf("%q is there: %v", content, got)
		}
	}
	_, err := h.run(func(o *Options) { o.Platforms = []string{"riscv64"} }, "a:v")
	if err == nil || exitCode(err) != 4 || !strings.Contains(err.Error(), "linux/riscv64") && !strings.Contains(err.Error(), "riscv64") {
		t.Errorf("no platform: %v", err)
	}
	if _, err := h.run(func(o *Options) { o.Platforms = []string{"a/b/c/d"} }, "a:v"); exitCode(err) != 2 {
		t.Errorf("no platform at all: %v", err)
	}
}

func TestFailures(t *testing.T) {
	h := newHarness(t)
	h.image("a", "v", "one")
	h.image("b", "v", "secret")
	h.refuse(func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/v2/b/blobs/") })
	r, err := h.run(nil, "b:v", "a:v", "a:none")
	var failed *Error
	if !errors.As(err, &failed) || len(failed.Failures) != 2 || failed.Total != 3 || failed.ExitCode() != 1 || len(r.Failures) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if len(h.warn) != 2 {
		t.Errorf("warnings: %q", h.warn)
	}
	if got := h.check(); len(got) != 1 || got["a:v"] == "" {
		t.Errorf("tags: %v", got)
	}
	_, err = h.run(nil, "a:none", "none:v")
	if exitCode(err) != 4 {
		t.Errorf("all are not found: %v", err)
	}
	// What failed later stays what it was.
	h.refuse(nil)
	h.mustRun(nil, "b:v")
	old := h.check()["b:v"]
	h.image("b", "v", "another secret")
	h.refuse(func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/v2/b/blobs/") })
	if _, err := h.run(nil, "b:v"); err == nil {
		t.Error("no error")
	}
	if got := h.check()["b:v"]; got != old {
		t.Errorf("the tag names %s, not %s", got, old)
	}
}

func TestPatterns(t *testing.T) {
	h := newHarness(t)
	image := h.image("a", "v1", "one")
	h.image("a", "v2", "two")
	h.image("a", "w", "three")
	h.image("a", "sha256-"+image.Digest.Encoded()+".sig", "signature")
	h.asked()
	r := h.mustRun(nil, "a:v*", "a:w", "a:v1")
	if len(r.Images) != 3 {
		t.Errorf("%+v", r.Images)
	}
	// For the pattern, and for what is attached to each of the images.
	lists := slices.DeleteFunc(h.asked(), func(s string) bool { return s != "GET /v2/a/tags/list" })
	if len(lists) != 1 {
		t.Errorf("the tags were listed %d times", len(lists))
	}
	if got := slices.Sorted(maps.Keys(h.check())); len(got) != 4 || !strings.HasPrefix(got[0], "a:sha256-") {
		t.Errorf("tags: %q", got)
	}
	if _, err := h.run(nil, "nothing:*"); exitCode(err) != 4 {
		t.Errorf("a repository that is not there: %v", err)
	}
	// A pattern that takes nothing is told, as is each of a repository that cannot be
	// listed, and the others go on.
	r, err := h.run(nil, "a:v*", "a:nix*", "nothing:v*", "nothing:w*")
	var failed *Error
	if !errors.As(err, &failed) || failed.ExitCode() != 4 || len(failed.Failures) != 3 || len(r.Images) != 2 {
		t.Fatalf("%v, %+v", err, r.Images)
	}
	for i, want := range []string{`any tag that the pattern takes not found in "docker://` + h.host + `/a"; it has `, "repository not found", "repository not found"} {
		if got := failed.Failures[i].err.Error(); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestDigest(t *testing.T) {
	h := newHarness(t)
	image := h.image("a", "v", "one")
	r := h.mustRun(nil, "a@"+image.Digest.String())
	if len(h.check()) != 0 || r.Changed != 1 || r.Images[0].Tag != "" {
		t.Errorf("%+v", r)
	}
	checkManifest(t, h.dir, "a", image.Digest, true)
	h.asked()
	if r := h.mustRun(nil, "a@"+image.Digest.String()); r.Changed != 0 || len(h.asked()) != 1 {
		t.Errorf("again: %+v", r)
	}
}

func TestDryRun(t *testing.T) {
	h := newHarness(t)
	h.image("a", "v", "one")
	dry := func(o *Options) { o.DryRun = true }
	r, err := h.run(dry, "a:v")
	if err != nil || r.Changed != 1 || r.Missing != int64(len("one")+len("{}")) || h.exists("") {
		t.Errorf("%+v, %v", r, err)
	}
	h.mustRun(nil, "a:v")
	before := h.snapshot()
	if r, err := h.run(dry, "a:v"); err != nil || r.Changed != 0 || r.Missing != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	h.image("a", "v", "two")
	if r, err := h.run(dry, "a:v"); err != nil || r.Changed != 1 || r.Missing != int64(len("two")) {
		t.Errorf("%+v, %v", r, err)
	}
	if !maps.Equal(before, h.snapshot()) {
		t.Error("a dry run changed the tree")
	}
}

// Requests grow with the number of images and nothing else.
func TestMany(t *testing.T) {
	h := newHarness(t)
	var refs []string
	first := map[int]int{}
	for n := 1; n <= 60; n++ {
		tag := strconv.Itoa(n)
		h.artifact("a", tag, "os"+tag, map[string]string{"kernel": "kernel " + tag, "initrd": "initrd " + tag})
		refs = append(refs, "a:"+tag)
	}
	for _, n := range []int{20, 60} {
		h.dir = filepath.Join(t.TempDir(), "mirror")
		r := h.mustRun(func(o *Options) { o.Jobs = 8 }, refs[:n]...)
		first[n] = r.Requests
		if len(r.Boot) != n {
			t.Errorf("%d boot trees of %d", len(r.Boot), n)
		}
		if r := h.mustRun(prune, refs[:n]...); r.Requests != n || r.Changed != 0 {
			t.Errorf("again: %d requests for %d images", r.Requests, n)
		}
	}
	// HEAD of the tag, manifest, two files, referrers; once the list of tags and {}.
	if per := (first[60] - first[20]) / 40; per != 5 || first[20] > 20*per+5 {
		t.Errorf("%d requests for 20 images, %d for 60", first[20], first[60])
	}
}
