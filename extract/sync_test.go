package extract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestSyncCosts: what did not move costs one question for each reference and one
// list for each repository, and children of an index none at all.
func TestSyncCosts(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	var amd, arm [3]ocispec.Descriptor
	for i := range 3 {
		tag := fmt.Sprintf("os-4%d", i)
		note := map[string]string{spec.AnnotationIndexTag: tag}
		amd[i] = reg.push("a", tag+"-amd64", boot{version: tag, notes: note})
		arm[i] = reg.push("a", tag+"-arm64", boot{version: tag, arch: "arm64", notes: note})
		reg.index("a", tag, on("amd64", amd[i]), on("arm64", arm[i]))
	}
	reg.push("a", "os-40-beta", boot{version: "beta"}) // looks like a child and is none
	text := "- {repository: " + reg.host() + "/a, tags: 'os-*', platforms: [amd64, arm64]}\n"
	reg.asked()
	r := s.must(text)
	if r.References != 4 || r.Changed != 7 || len(r.Skipped) != 0 || r.Requests != len(reg.asked()) {
		t.Errorf("first run: %d references, %d changed, %+v, %d requests", r.References, r.Changed, r.Skipped, r.Requests)
	}
	r = s.must(text)
	// A tag that is no child is looked at, because it may have become one.
	want := []string{"GET /v2/a/tags/list", "HEAD /v2/a/manifests/os-40", "HEAD /v2/a/manifests/os-41", "HEAD /v2/a/manifests/os-42",
		"HEAD /v2/a/manifests/os-40-beta"}
	asked := reg.asked()
	slices.Sort(asked)
	slices.Sort(want)
	if !slices.Equal(asked, want) || r.Changed != 0 || r.Unchanged != 7 {
		t.Errorf("second run asked %q, changed %d", asked, r.Changed)
	}
	// A child that moves with its index is looked at again.
	moved := reg.push("a", "os-40-amd64", boot{version: "os-40", files: map[string]string{"vmlinuz": "new"}, notes: map[string]string{spec.AnnotationIndexTag: "os-40"}})
	reg.index("a", "os-40", on("amd64", moved), on("arm64", arm[0]))
	if r = s.must(text); r.Changed != 1 || r.Unchanged != 6 {
		t.Errorf("after one platform moved: %d changed, %d unchanged", r.Changed, r.Unchanged)
	}
}

// TestSyncCatalogIndex: one question answers for a thousand releases.
func TestSyncCatalogIndex(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	n := 60
	if !testing.Short() && os.Getenv("NBPACK_TEST_LARGE") != "" {
		n = 1000
	}
	var all []ocispec.Descriptor
	for i := range n {
		d := on("amd64", reg.push("a", "", boot{version: fmt.Sprint(i)}))
		release := reg.index("a", "", d)
		release.Annotations = map[string]string{ocispec.AnnotationRefName: fmt.Sprintf("os-%d", i)}
		all = append(all, release)
	}
	reg.index("a", "all", all...)
	text := "- {catalog: '" + reg.host() + "/a:all', platforms: [amd64]}\n"
	if r := s.must(text); r.Changed != n || r.References != n {
		t.Fatalf("%d changed of %d", r.Changed, r.References)
	}
	reg.asked()
	r := s.must(text)
	if asked := reg.asked(); len(asked) != 1 || asked[0] != "HEAD /v2/a/manifests/all" || r.Unchanged != n || r.Requests != 1 {
		t.Errorf("%d requests: %.300q", len(asked), asked)
	}
	// One release moves: the index is read once, and that release.
	d := on("amd64", reg.push("a", "", boot{version: "7", files: map[string]string{"vmlinuz": "new"}}))
	notes := all[7].Annotations
	all[7] = reg.index("a", "", d)
	all[7].Annotations = notes
	reg.index("a", "all", all...)
	reg.asked()
	r = s.must(text)
	if asked := reg.asked(); r.Changed != 1 || len(asked) > 8 {
		t.Errorf("%d changed, asked %q", r.Changed, asked)
	}
	// Releases are chosen as tags are.
	s = newSyncer(t)
	r = s.must("- {catalog: '" + reg.host() + "/a:all', tags: 'os-*', exclude: 'os-59', newest: 2}\n")
	if r.Changed != 2 || !slices.ContainsFunc(r.Trees, func(x SyncTree) bool { return x.Path == fmt.Sprintf("os/%d/amd64", n-1-boolInt(n == 60)) }) {
		t.Errorf("%+v", r.Trees)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestSyncFailuresStandAlone: one image fails, the others go on.
func TestSyncFailuresStandAlone(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	reg.push("a", "good", boot{version: "1"})
	reg.push("a", "bad", boot{version: "2", files: map[string]string{"../x": "escape"}})
	reg.push("b", "other", boot{version: "3"})
	ref := func(name string) string { return "- {ref: '" + reg.host() + "/" + name + "'}\n" }
	r, err := s.run(ref("a:bad") + ref("a:gone") + ref("a:good") + ref("b:other"))
	var sum *SyncError
	if !errors.As(err, &sum) || sum.ExitCode() != 1 || r.Changed != 2 || len(r.Failures) != 2 {
		t.Fatalf("%v, %+v", err, r)
	}
	if r.Failures[0].Kind != FailNotFound && r.Failures[1].Kind != FailNotFound {
		t.Errorf("%+v %+v", r.Failures[0], r.Failures[1])
	}
	// The code of the only kind, and since when.
	first := s.now
	s.now = s.now.Add(time.Hour)
	r, err = s.run(ref("a:gone") + ref("a:good"))
	if !errors.As(err, &sum) || sum.ExitCode() != 4 || !r.Failures[0].Since.Equal(first) || !strings.Contains(s.warned[0], "it fails since 2026-01-01 00:00") {
		t.Errorf("%v %q", err, s.warned)
	}
	r, err = s.run(ref("a:bad"))
	if !errors.As(err, &sum) || sum.ExitCode() != 3 {
		t.Errorf("%v %+v", err, r.Failures[0])
	}
	// It is there again.
	reg.push("a", "gone", boot{version: "4"})
	s.must(ref("a:gone"))
	state, err := ReadSyncState(s.dir)
	if err != nil || !state.References["docker://"+reg.host()+"/a:gone"].FailingSince.IsZero() || !state.Runs["test"].Succeeded.Equal(s.now) {
		t.Errorf("%v %+v", err, state)
	}
}

// TestSyncRegistryDown: the trees stay, the run ends soon and says since when.
func TestSyncRegistryDown(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	text := ""
	for i := range 40 {
		reg.push("a", fmt.Sprint("v", i), boot{version: fmt.Sprint(i)})
		text += fmt.Sprintf("- {ref: '%s/a:v%d'}\n", reg.host(), i)
	}
	s.must(text)
	reg.asked()
	reg.breaks(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r, err := s.run(text)
	if asked := len(reg.asked()); asked > 5*(breakerLimit+defaultConcurrency) {
		t.Errorf("a registry that is down was asked %d times", asked)
	}
	if err == nil || len(r.Failures) != 40 || r.Failures[0].Kind != FailNetwork {
		t.Fatalf("%v, %d failures", err, len(r.Failures))
	}
	list, err := Verify(t.Context(), s.dir)
	if err != nil || len(list) != 40 || problems(list) {
		t.Errorf("%v: %d trees", err, len(list))
	}
	s.now = s.now.Add(3 * time.Hour)
	reg.Close()
	if _, err := s.run(text); err == nil || !strings.Contains(s.warned[0], "it fails since 2026-01-01 00:00 UTC") {
		t.Errorf("%v %q", err, s.warned[0])
	}
}

// TestSyncTransientFaults: each fault of the way is survived.
func TestSyncTransientFaults(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<12)
	for name, fault := range map[string]func(n int, w http.ResponseWriter, r *http.Request) bool{
		"503 twice": func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n <= 2
		},
		"429 with Retry-After": func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n <= 2 {
				w.Header().Set("Retry-After", "86400")
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return n <= 2
		},
		"connection dropped": func(n int, w http.ResponseWriter, _ *http.Request) bool {
			if n <= 2 {
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"five broken connections for each blob": func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n > 5 || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			w.Header().Set("Content-Length", "1000000")
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write([]byte{})
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg, s := newShelf(t), newSyncer(t)
			reg.push("a", "v1", boot{version: "1", files: map[string]string{"vmlinuz": big}})
			reg.push("a", "v2", boot{version: "2"})
			times := map[string]int{}
			reg.breaks(func(w http.ResponseWriter, r *http.Request) bool {
				reg.mu.Lock()
				times[r.URL.Path]++
				n := times[r.URL.Path]
				reg.mu.Unlock()
				return fault(n, w, r)
			})
			if r := s.must("- {repository: " + reg.host() + "/a, tags: 'v*'}\n"); r.Changed != 2 {
				t.Errorf("%+v", r)
			}
			got, err := os.ReadFile(filepath.Join(s.dir, "os/1/amd64/vmlinuz"))
			if err != nil || string(got) != big {
				t.Errorf("%v, %d bytes", err, len(got))
			}
		})
	}
}

// TestSyncPassesOver: what a pattern finds and this server does not want costs
// one question on later runs, and is no failure.
func TestSyncPassesOver(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	reg.push("a", "os-1", boot{version: "1"})
	reg.push("a", "os-2", boot{version: "2", arch: "arm64"})
	reg.push("a", "os-3", boot{version: "3"})
	text := "- {repository: " + reg.host() + "/a, tags: '*', platforms: [amd64, ppc64le]}\n"
	r := s.must(text)
	if r.Changed != 2 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Reason, "holds nothing for platform") {
		t.Fatalf("%+v", r)
	}
	reg.asked()
	if r = s.must(text); r.Changed != 0 || len(r.Skipped) != 1 || r.Requests != 4 {
		t.Errorf("%+v, asked %q", r, reg.asked())
	}
	// Other platforms are another question.
	if r = s.must(strings.Replace(text, "ppc64le", "arm64", 1)); r.Changed != 1 || r.Unchanged != 2 {
		t.Errorf("%+v", r)
	}
	// By name it is a failure.
	if r, err := s.run("- {ref: '" + reg.host() + "/a:os-2', platforms: [amd64]}\n"); err == nil || r.Failures[0].Kind != FailPlatform {
		t.Errorf("%v", err)
	}
}

// TestSyncClashes: equal references make one tree, different ones are refused,
// and neither touches what is there.
func TestSyncClashes(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	reg.push("a", "one", boot{version: "1"})
	reg.push("a", "same", boot{version: "1"})
	text := "- {repository: " + reg.host() + "/a, tags: '*'}\n"
	r := s.must(text)
	if r.Changed != 1 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Reason, "the same tree as") {
		t.Fatalf("%+v", r)
	}
	reg.asked()
	if r = s.must(text); r.Changed != 0 || r.Requests != 3 {
		t.Errorf("%q", reg.asked())
	}
	reg.push("a", "same", boot{version: "1", files: map[string]string{"vmlinuz": "other"}})
	r, err := s.run(text)
	if err == nil || len(r.Failures) != 2 || r.Failures[0].Kind != FailConflict || r.Changed != 0 {
		t.Errorf("%v %+v", err, r.Failures)
	}
	reg.push("a", "one", boot{version: "1", files: map[string]string{"vmlinuz": "other"}})
	if r = s.must(text); r.Changed != 1 {
		t.Errorf("%+v", r)
	}
	// Inside each other.
	s = newSyncer(t)
	r, err = s.run("- {ref: '" + reg.host() + "/a:one', layout: '{os.name}/x'}\n" +
		"- {ref: '" + reg.host() + "/a:same', layout: '{os.name}/x/y/{os.version}'}\n")
	if err == nil || len(r.Failures) != 2 || !strings.Contains(r.Failures[0].Message, "lies inside") || r.Changed != 0 {
		t.Errorf("%v %+v", err, r.Failures)
	}
	r, err = s.run("- {ref: '" + reg.host() + "/a:one', layout: flat}\n- {ref: '" + reg.host() + "/a:same'}\n")
	if err == nil || len(r.Failures) != 2 {
		t.Errorf("%v %+v", err, r.Failures)
	}
}

// TestSyncRetention: trees go only when asked for, late, and not all at once.
func TestSyncRetention(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	for i := range 4 {
		reg.push("a", fmt.Sprint("v", i), boot{version: fmt.Sprint(i)})
	}
	refs := func(n int) (text string) {
		for i := range n {
			text += fmt.Sprintf("- {ref: '%s/a:v%d'}\n", reg.host(), i)
		}
		return text
	}
	live := func() (n int) {
		list, err := Status(t.Context(), s.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	s.must(refs(4))
	if r := s.must(refs(3)); len(r.Left) != 1 || r.Left[0].Removed {
		t.Errorf("%+v", r.Left)
	}
	s.opts.Prune = true
	s.must(refs(3))
	s.now = s.now.Add(bootdir.DefaultGrace - time.Minute)
	if s.must(refs(3)); live() != 4 {
		t.Error("removed before its time")
	}
	// Back in the catalogue, its time begins anew.
	s.must(refs(4))
	s.now = s.now.Add(time.Hour)
	if s.must(refs(3)); live() != 4 {
		t.Error("the time of an earlier leave counted")
	}
	// Pinned trees stay.
	s.now = s.now.Add(bootdir.DefaultGrace)
	pin(t, s.dir, "os/3/amd64", true)
	if r := s.must(refs(3)); live() != 4 || !strings.Contains(r.Left[0].Reason, "pinned") {
		t.Errorf("%+v", r.Left)
	}
	pin(t, s.dir, "os/3/amd64", false)
	if r := s.must(refs(3)); live() != 3 || !r.Left[0].Removed {
		t.Errorf("%+v", r.Left)
	}
	// Two of three are too many.
	s.must(refs(1) + "- {ref: '" + reg.host() + "/a:v1'}\n- {ref: '" + reg.host() + "/a:v2'}\n")
	r, err := s.run(refs(1))
	if err == nil || r.Failures[0].Kind != FailRetention || live() != 3 {
		t.Errorf("%v", err)
	}
	s.now = s.now.Add(bootdir.DefaultGrace)
	if _, err = s.run(refs(1)); err == nil || live() != 3 {
		t.Errorf("%v", err)
	}
	s.opts.Force = true
	if s.must(refs(1)); live() != 1 {
		t.Error("--force removes nothing")
	}
	// A tree that another pull made is not this catalogue's.
	pullByHand(t, s.dir, reg, "a:v2")
	if s.must(refs(1)); live() != 2 {
		t.Error("a foreign tree was removed")
	}
}

// TestSyncEmptyList: a registry that lists nothing empties no server, whatever
// the catalogue allows.
func TestSyncEmptyList(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	for i := range 5 {
		reg.push("a", fmt.Sprint("v", i), boot{version: fmt.Sprint(i)})
	}
	s.opts.Prune, s.opts.Force = true, true
	text := "- {repository: " + reg.host() + "/a, tags: '*'}\n"
	s.must(text)
	for name, body := range map[string]string{"no tags": `{"name":"a","tags":[]}`, "null": `{"name":"a","tags":null}`, "others": `{"name":"a","tags":[]}`} {
		reg.breaks(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/tags/list") {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, body)
				return true
			}
			return false
		})
		for range 3 {
			s.now = s.now.Add(bootdir.DefaultGrace * 2)
			if _, err := s.run(text); err == nil {
				t.Errorf("%s: no failure", name)
			}
		}
		if list, err := Status(t.Context(), s.dir); err != nil || len(list) != 5 {
			t.Errorf("%s: %v, %d trees left", name, err, len(list))
		}
	}
}

// TestSyncMaxAge warns of tags that stand still.
func TestSyncMaxAge(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	old := s.now.Add(-40 * 24 * time.Hour)
	reg.push("a", "old", boot{version: "1", created: &old})
	reg.push("a", "new", boot{version: "2"})
	text := "- {repository: " + reg.host() + "/a, tags: '*', max-age: 30d}\n"
	if r := s.must(text); len(r.Stale) != 1 || r.Stale[0].Path != "os/1/amd64" || len(s.warned) != 1 {
		t.Errorf("%+v %q", r.Stale, s.warned)
	}
	s.now = s.now.Add(31 * 24 * time.Hour)
	if r := s.must(text); len(r.Stale) != 2 {
		t.Errorf("%+v", r.Stale)
	}
	reg.push("a", "old", boot{version: "1", files: map[string]string{"vmlinuz": "v"}})
	if r := s.must(text); len(r.Stale) != 1 {
		t.Errorf("%+v", r.Stale)
	}
}

// TestSyncSpace: layers count once, and what is reused does not.
func TestSyncSpace(t *testing.T) {
	known := layerIndex{}
	jobs := []*job{
		{target: &target{manifest: &ocispec.Manifest{Layers: []ocispec.Descriptor{{Digest: "sha256:1"}, {Digest: "sha256:2"}}},
			layers: []layer{sized(10), sized(20)}}},
		{target: &target{manifest: &ocispec.Manifest{Layers: []ocispec.Descriptor{{Digest: "sha256:2"}, {Digest: "sha256:3"}}},
			layers: []layer{sized(20), sized(40)}}},
	}
	if got := spaceFor(jobs, known, nil); got != 70 {
		t.Errorf("%d bytes", got)
	}
	if got := spaceFor(jobs, known, map[*job]int64{jobs[0]: 100, jobs[1]: 15}); got != 25 {
		t.Errorf("%d bytes", got)
	}
	jobs[1].target.layers[1] = sized(1 << 62)
	jobs[0].target.layers[0] = sized(1 << 62)
	if got := spaceFor(jobs, known, nil); got <= 0 {
		t.Errorf("%d bytes", got)
	}
}

// sized is a layer that only says its size.
type sizedLayer struct {
	layer
	size int64
}

func sized(n int64) layer { return sizedLayer{size: n} }

func (s sizedLayer) space() int64                           { return s.size }
func (s sizedLayer) recorded(layerIndex) (knownLayer, bool) { return knownLayer{}, false }

// TestSyncLocked: another run's lock is respected, or waited for.
func TestSyncLocked(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	reg.push("a", "v", boot{version: "1"})
	text := "- {ref: '" + reg.host() + "/a:v'}\n"
	d, err := bootdir.Open(t.Context(), s.dir, bootdir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.run(text)
	var sum *SyncError
	if !errors.As(err, &sum) || sum.ExitCode() != 75 {
		t.Errorf("%v", err)
	}
	s.opts.Wait = true
	looks := 0
	s.opts.Sleep = func(context.Context, time.Duration) error {
		if looks++; looks == 3 {
			return d.Close()
		}
		return nil
	}
	if r := s.must(text); r.Changed != 1 || looks != 3 {
		t.Errorf("%d looks, %+v", looks, r)
	}
}

// TestSyncWeek: a week of hourly runs leaves nothing but trees, generations that
// are to be kept, and one small note.
func TestSyncWeek(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	s.opts.Prune = true
	text := "- {repository: " + reg.host() + "/a, tags: 'v*', newest: 3, keep: 2}\n"
	hours := 7 * 24
	if testing.Short() {
		hours = 60
	}
	for h := range hours {
		if h%5 == 0 { // a tag moves
			reg.push("a", fmt.Sprint("v", h/24), boot{version: fmt.Sprint(h / 24), files: map[string]string{"vmlinuz": fmt.Sprint("kernel ", h)}})
		}
		down := h%11 == 3
		reg.breaks(func(w http.ResponseWriter, r *http.Request) bool {
			if down {
				w.WriteHeader(http.StatusBadGateway)
			}
			return down
		})
		if _, err := s.run(text); (err != nil) != down {
			t.Fatalf("hour %d: %v %q", h, err, s.warned)
		}
		s.now = s.now.Add(time.Hour)
	}
	reg.breaks(nil)
	for range 2 { // what is on its way out
		s.now = s.now.Add(25 * time.Hour)
		s.must(text)
	}
	list, err := Verify(t.Context(), s.dir)
	if err != nil || len(list) != 3 || problems(list) {
		t.Fatalf("%v, %d trees", err, len(list))
	}
	var generations, records, stage []string
	generations, _ = filepath.Glob(filepath.Join(s.dir, "by-digest/*"))
	records, _ = filepath.Glob(filepath.Join(s.dir, ".nbextract/images/*"))
	for _, kind := range []string{"stage", "partial", "kept"} {
		found, _ := filepath.Glob(filepath.Join(s.dir, ".nbextract", kind, "*"))
		stage = append(stage, found...)
	}
	if len(generations) > 6 || len(records) != len(generations) || len(stage) != 0 {
		t.Errorf("%d generations, %d records, left %q", len(generations), len(records), stage)
	}
	if st, err := os.Stat(filepath.Join(s.dir, ".nbextract/sync.json")); err != nil || st.Size() > 4096 {
		t.Errorf("%v: the note has %d bytes", err, st.Size())
	}
}

// TestSyncDirections: entries may go to several boot directories.
func TestSyncDestinations(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	reg.push("a", "v", boot{version: "1"})
	other := filepath.Join(t.TempDir(), "other")
	r := s.must("- {ref: '" + reg.host() + "/a:v'}\n- {ref: '" + reg.host() + "/a:v', destination: " + other + "}\n")
	if r.Changed != 2 || r.Trees[1].Destination != other {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat(filepath.Join(other, "os/1/amd64/vmlinuz")); err != nil {
		t.Error(err)
	}
}

// TestSyncHooks: a veto holds one tree back, and each hears what concerns it.
func TestSyncHooks(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	reg.push("a", "v1", boot{version: "1"})
	reg.push("a", "v2", boot{version: "2"})
	h := &heard{veto: "os/2/amd64"}
	s.opts.MakeHooks = func(*catalog.Hooks) (Hooks, error) { return h, nil }
	text := "- {repository: " + reg.host() + "/a, tags: 'v*', hooks: {failed: /bin/true}}\n"
	r, err := s.run(text)
	var sum *SyncError
	if !errors.As(err, &sum) || sum.ExitCode() != 1 || r.Changed != 1 || r.Failures[0].Kind != FailVetoed {
		t.Errorf("%v %+v", err, r)
	}
	want := "pre os/1/amd64 staged, post os/1/amd64, pre os/2/amd64 staged, failed vetoed"
	if got := strings.Join(h.calls, ", "); got != want {
		t.Errorf("%s", got)
	}
	h.veto, h.calls = "", nil
	s.must(text)
	s.must(text)
	if got := strings.Join(h.calls, ", "); got != "pre os/2/amd64 staged, post os/2/amd64" {
		t.Errorf("%s", got)
	}
}

type heard struct {
	veto  string
	calls []string
}

func (h *heard) PreCommit(_ context.Context, c *TreeChange) error {
	call := "pre " + c.Path
	if _, err := os.Stat(filepath.Join(c.Stage, "vmlinuz")); err == nil && c.OldDigest == "" {
		call += " staged"
	}
	h.calls = append(h.calls, call)
	if c.Path == h.veto {
		return errors.New("not today")
	}
	return nil
}

func (h *heard) PostCommit(_ context.Context, c *TreeChange) error {
	h.calls = append(h.calls, "post "+c.Path)
	return nil
}

func (h *heard) Failed(_ context.Context, f *Failure) {
	h.calls = append(h.calls, "failed "+string(f.Kind))
}

// TestSyncMirror: a mirror of the catalogue is asked first, the registry when it
// is gone.
func TestSyncMirror(t *testing.T) {
	reg, mirror, s := newShelf(t), newShelf(t), newSyncer(t)
	reg.push("a/b", "v", boot{version: "1"})
	mirror.push("copy/b", "v", boot{version: "1"})
	text := fmt.Sprintf("destination: %s\nmirrors: {'%s/a': ['%s/copy']}\nimages:\n- ref: '%s/a/b:v'\n", s.dir, reg.host(), mirror.host(), reg.host())
	c, entries, err := catalog.Parse("c", "c", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.runCatalog(c, entries); err != nil || r.Changed != 1 || len(reg.asked()) != 0 {
		t.Errorf("%v", err)
	}
	mirror.Close()
	reg.push("a/b", "v", boot{version: "1", files: map[string]string{"vmlinuz": "new"}})
	if r, err := s.runCatalog(c, entries); err != nil || r.Changed != 1 {
		t.Errorf("%v", err)
	}
}

func pin(t *testing.T, dir, live string, on bool) {
	t.Helper()
	d, err := bootdir.Open(t.Context(), dir, bootdir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	tree, err := d.Tree(live)
	if err != nil || tree == nil {
		t.Fatal(err)
	}
	tree.Pinned = on
	if err := d.UpdateTree(tree); err != nil {
		t.Fatal(err)
	}
}

func pullByHand(t *testing.T, dir string, reg *shelf, name string) {
	t.Helper()
	insecure := false
	c, err := transport.NewClient(transport.Options{TLSVerify: &insecure})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ref, err := transport.ParseReference(reg.host() + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), c, []transport.Reference{ref}, Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
}
