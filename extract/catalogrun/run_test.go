package catalogrun

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/spec"
)

// TestSyncCosts: what did not move costs one question for each reference and one
// list for each repository, and children of an index none at all.
func TestSyncCosts(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	var amd, arm [3]ocispec.Descriptor
	for i := range 3 {
		tag := fmt.Sprintf("os-4%d", i)
		note := map[string]string{spec.AnnotationIndexTag: tag}
		amd[i] = reg.Push("a", tag+"-amd64", testshelf.Boot{Version: tag, Notes: note})
		arm[i] = reg.Push("a", tag+"-arm64", testshelf.Boot{Version: tag, Arch: "arm64", Notes: note})
		reg.Index("a", tag, testshelf.On("amd64", amd[i]), testshelf.On("arm64", arm[i]))
	}
	reg.Push("a", "os-40-beta", testshelf.Boot{Version: "beta"}) // looks like a child and is none
	text := "- {repository: " + reg.Host() + "/a, tags: 'os-*', platforms: [amd64, arm64]}\n"
	reg.Asked()
	r := s.must(text)
	if r.References != 4 || r.Changed != 7 || len(r.Skipped) != 0 || r.Requests != len(reg.Asked()) {
		t.Errorf("first run: %d references, %d changed, %+v, %d requests", r.References, r.Changed, r.Skipped, r.Requests)
	}
	r = s.must(text)
	// A tag that is no child is looked at, because it may have become one.
	want := []string{"GET /v2/a/tags/list", "HEAD /v2/a/manifests/os-40", "HEAD /v2/a/manifests/os-41", "HEAD /v2/a/manifests/os-42",
		"HEAD /v2/a/manifests/os-40-beta"}
	asked := reg.Asked()
	slices.Sort(asked)
	slices.Sort(want)
	if !slices.Equal(asked, want) || r.Changed != 0 || r.Unchanged != 7 {
		t.Errorf("second run asked %q, changed %d", asked, r.Changed)
	}
	// A child that moves with its index is looked at again.
	moved := reg.Push("a", "os-40-amd64", testshelf.Boot{Version: "os-40", Files: map[string]string{"vmlinuz": "new"}, Notes: map[string]string{spec.AnnotationIndexTag: "os-40"}})
	reg.Index("a", "os-40", testshelf.On("amd64", moved), testshelf.On("arm64", arm[0]))
	if r = s.must(text); r.Changed != 1 || r.Unchanged != 6 {
		t.Errorf("after one platform moved: %d changed, %d unchanged", r.Changed, r.Unchanged)
	}
}

// TestSyncCatalogIndex: one question answers for a thousand releases.
func TestSyncCatalogIndex(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	n := 60
	if !testing.Short() && os.Getenv("NBPACK_TEST_LARGE") != "" {
		n = 1000
	}
	var all []ocispec.Descriptor
	for i := range n {
		d := testshelf.On("amd64", reg.Push("a", "", testshelf.Boot{Version: fmt.Sprint(i)}))
		release := reg.Index("a", "", d)
		release.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprintf("os-%d", i)}
		all = append(all, release)
	}
	reg.Index("a", "all", all...)
	text := "- {catalog: '" + reg.Host() + "/a:all', platforms: [amd64]}\n"
	if r := s.must(text); r.Changed != n || r.References != n {
		t.Fatalf("%d changed of %d", r.Changed, r.References)
	}
	reg.Asked()
	r := s.must(text)
	if asked := reg.Asked(); len(asked) != 1 || asked[0] != "HEAD /v2/a/manifests/all" || r.Unchanged != n || r.Requests != 1 {
		t.Errorf("%d requests: %.300q", len(asked), asked)
	}
	// One release moves: the index is read once, and that release.
	d := testshelf.On("amd64", reg.Push("a", "", testshelf.Boot{Version: "7", Files: map[string]string{"vmlinuz": "new"}}))
	notes := all[7].Annotations
	all[7] = reg.Index("a", "", d)
	all[7].Annotations = notes
	reg.Index("a", "all", all...)
	reg.Asked()
	r = s.must(text)
	if asked := reg.Asked(); r.Changed != 1 || len(asked) > 8 {
		t.Errorf("%d changed, asked %q", r.Changed, asked)
	}
	// Releases are chosen as tags are.
	s = newSyncer(t)
	r = s.must("- {catalog: '" + reg.Host() + "/a:all', tags: 'os-*', exclude: 'os-59', newest: 2}\n")
	if r.Changed != 2 || !slices.ContainsFunc(r.Trees, func(x Tree) bool { return x.Path == fmt.Sprintf("os/%d/amd64", n-1-boolInt(n == 60)) }) {
		t.Errorf("%+v", r.Trees)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestSyncPassesOver: what a pattern finds and this server does not want costs
// one question on later runs, and is no failure.
func TestSyncPassesOver(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "os-1", testshelf.Boot{Version: "1"})
	reg.Push("a", "os-2", testshelf.Boot{Version: "2", Arch: "arm64"})
	reg.Push("a", "os-3", testshelf.Boot{Version: "3"})
	text := "- {repository: " + reg.Host() + "/a, tags: '*', platforms: [amd64, ppc64le]}\n"
	r := s.must(text)
	if r.Changed != 2 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Reason, "holds nothing for platform") {
		t.Fatalf("%+v", r)
	}
	reg.Asked()
	if r = s.must(text); r.Changed != 0 || len(r.Skipped) != 1 || r.Requests != 4 {
		t.Errorf("%+v, asked %q", r, reg.Asked())
	}
	// Other platforms are another question.
	if r = s.must(strings.Replace(text, "ppc64le", "arm64", 1)); r.Changed != 1 || r.Unchanged != 2 {
		t.Errorf("%+v", r)
	}
	// By name it is a failure.
	if r, err := s.run("- {ref: '" + reg.Host() + "/a:os-2', platforms: [amd64]}\n"); err == nil || r.Failures[0].Kind != extract.FailPlatform {
		t.Errorf("%v", err)
	}
}

// TestSyncClashes: equal references make one tree, different ones are refused,
// and neither touches what is there.
func TestSyncClashes(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "one", testshelf.Boot{Version: "1"})
	reg.Push("a", "same", testshelf.Boot{Version: "1"})
	text := "- {repository: " + reg.Host() + "/a, tags: '*'}\n"
	r := s.must(text)
	if r.Changed != 1 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Reason, "the same tree as") {
		t.Fatalf("%+v", r)
	}
	reg.Asked()
	if r = s.must(text); r.Changed != 0 || r.Requests != 3 {
		t.Errorf("%q", reg.Asked())
	}
	reg.Push("a", "same", testshelf.Boot{Version: "1", Files: map[string]string{"vmlinuz": "other"}})
	r, err := s.run(text)
	if err == nil || len(r.Failures) != 2 || r.Failures[0].Kind != extract.FailConflict || r.Changed != 0 {
		t.Errorf("%v %+v", err, r.Failures)
	}
	reg.Push("a", "one", testshelf.Boot{Version: "1", Files: map[string]string{"vmlinuz": "other"}})
	if r = s.must(text); r.Changed != 1 {
		t.Errorf("%+v", r)
	}
	// Inside each other.
	s = newSyncer(t)
	r, err = s.run("- {ref: '" + reg.Host() + "/a:one', layout: '{os.name}/x'}\n" +
		"- {ref: '" + reg.Host() + "/a:same', layout: '{os.name}/x/y/{os.version}'}\n")
	if err == nil || len(r.Failures) != 2 || !strings.Contains(r.Failures[0].Message, "lies inside") || r.Changed != 0 {
		t.Errorf("%v %+v", err, r.Failures)
	}
	r, err = s.run("- {ref: '" + reg.Host() + "/a:one', layout: flat}\n- {ref: '" + reg.Host() + "/a:same'}\n")
	if err == nil || len(r.Failures) != 2 {
		t.Errorf("%v %+v", err, r.Failures)
	}
}

// TestSyncDestinations: entries may go to several boot directories.
func TestSyncDestinations(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "v", testshelf.Boot{Version: "1"})
	other := filepath.Join(t.TempDir(), "other")
	r := s.must("- {ref: '" + reg.Host() + "/a:v'}\n- {ref: '" + reg.Host() + "/a:v', destination: " + other + "}\nmenus: [ipxe]\n")
	if r.Changed != 2 || r.Trees[1].Destination != other || !slices.Equal(r.Menus, []Menu{{s.dir, "boot.ipxe"}, {other, "boot.ipxe"}}) {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(other, "os/1/amd64/vmlinuz")); err != nil {
		t.Error(err)
	}
}

// TestCheckCatalogOrder: what is wrong in one line is told in the same order each time.
func TestCheckCatalogOrder(t *testing.T) {
	_, entries, err := catalog.Parse("c.yaml", "test", []byte("destination: /x\nimages:\n- {ref: registry.example/a:v, chown: '-', chmod: '-', selinux-label: '\\'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		err := Check(entries, Options{})
		if err == nil {
			t.Fatal("nothing is wrong")
		}
		owner, modes := strings.Index(err.Error(), "chown"), strings.Index(err.Error(), "chmod")
		if owner < 0 || modes < owner {
			t.Fatal(err)
		}
	}
}
