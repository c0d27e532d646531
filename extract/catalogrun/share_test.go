package catalogrun

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncLosesSlowly: a registry that loses a little more before each run takes no
// more from a boot server than one that loses it at once.
func TestSyncLosesSlowly(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	const n = 10
	refs := func(n int) (text string) {
		for i := range n {
			text += fmt.Sprintf("- {ref: '%s/a:v%d'}\n", reg.Host(), i)
		}
		return text
	}
	for i := range n {
		reg.Push("a", fmt.Sprint("v", i), testshelf.Boot{Version: fmt.Sprint(i)})
	}
	s.opts.Prune = true
	s.must(refs(n))
	count := func() int {
		list, err := extract.Status(t.Context(), s.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	// One more is gone every eight hours: three in a grace time, and as many that
	// wait for their end.
	before := map[int]int{} // trees by hour
	refused, counted := false, false
	for hour := 0; hour < 5*24; hour += 8 {
		s.now = s.now.Add(8 * time.Hour)
		_, err := s.run(refs(max(1, n-1-hour/8)))
		refused = refused || err != nil
		before[hour] = count()
		if had, known := before[hour-24]; known && 2*before[hour] < had {
			t.Errorf("hour %d: %d trees, a day before %d", hour, before[hour], had)
		}
		if err != nil && !strings.Contains(err.Error(), "retention") {
			t.Fatal(err)
		}
		counted = counted || strings.Contains(strings.Join(s.warned, "\n"), "were removed since")
	}
	if !refused || !counted || count() == n {
		t.Errorf("refused: %v, earlier ones counted: %v, %d trees left", refused, counted, count())
	}
	// What is forced is not counted against what follows.
	s.opts.Force = true
	s.must(refs(2))
	s.opts.Force = false
	s.now = s.now.Add(bootdir.DefaultGrace)
	if r := s.must(refs(2)); len(r.Left) != 0 {
		t.Errorf("%+v", r.Left)
	}
	if s.must(refs(1)); count() != 2 {
		t.Errorf("%d trees", count())
	}
}

// TestSyncListedAndLost: a registry that lists tags without having them loses no
// tree, and does not get away with it.
func TestSyncListedAndLost(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	for _, tag := range []string{"v1", "v2", "v2-amd64"} {
		reg.Push("a", tag, testshelf.Boot{Version: tag})
	}
	s.opts.Prune, s.opts.Force = true, true
	text := "- {repository: " + reg.Host() + "/a, tags: 'v*'}\n"
	s.must(text)
	reg.Breaks(func(w http.ResponseWriter, r *http.Request) bool {
		lost := strings.Contains(r.URL.Path, "/manifests/v2")
		if lost {
			w.WriteHeader(http.StatusNotFound)
		}
		return lost
	})
	s.now = s.now.Add(time.Hour)
	if r := s.must(text); len(r.Skipped) != 2 || !strings.Contains(r.Skipped[0].Reason, "it is not there") || len(r.Left) != 0 {
		t.Errorf("%+v, left %+v", r.Skipped, r.Left)
	}
	since := s.now
	s.now = s.now.Add(3 * bootdir.DefaultGrace)
	r, err := s.run(text)
	var sum *Error
	if !errors.As(err, &sum) || sum.ExitCode() != 4 || len(r.Failures) != 2 || len(r.Left) != 0 ||
		!strings.Contains(r.Failures[0].Message, since.Format("since 2006-01-02 15:04")) {
		t.Errorf("%v %+v", err, r)
	}
	if list, err := extract.Status(t.Context(), s.dir); err != nil || len(list) != 3 {
		t.Errorf("%v, %d trees", err, len(list))
	}
	// A tag of which there never was a tree is passed over, for as long as it takes.
	s = newSyncer(t)
	for range 3 {
		s.now = s.now.Add(time.Hour)
		if r := s.must(text); len(r.Skipped) != 2 {
			t.Errorf("%+v", r.Skipped)
		}
	}
	// It is there again.
	reg.Breaks(nil)
	if r := s.must(text); r.Changed != 2 || len(r.Skipped) != 0 {
		t.Errorf("%+v", r)
	}
}

// TestSyncTwinOfAFailure: a reference that makes the same tree as another is not up
// to date while that is not.
func TestSyncTwinOfAFailure(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "one", testshelf.Boot{Version: "1"})
	reg.Push("a", "same", testshelf.Boot{Version: "1"})
	text := "- {ref: '" + reg.Host() + "/a:one'}\n- {ref: '" + reg.Host() + "/a:same'}\n"
	s.must(text)
	succeeded := func(tag string) time.Time {
		state, err := ReadState(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		return state.References["docker://"+reg.Host()+"/a:"+tag].Succeeded
	}
	first := s.now
	for _, tag := range []string{"one", "same"} {
		reg.Push("a", tag, testshelf.Boot{Version: "1", Files: map[string]string{"vmlinuz": "new"}})
	}
	reg.Breaks(func(w http.ResponseWriter, r *http.Request) bool {
		blob := strings.Contains(r.URL.Path, "/blobs/") && r.Header.Get("Range") == "" // the config passes
		if blob {
			w.WriteHeader(http.StatusForbidden)
		}
		return blob
	})
	s.now = s.now.Add(time.Hour)
	if _, err := s.run(text); err == nil || !succeeded("one").Equal(first) || !succeeded("same").Equal(first) {
		t.Errorf("%v: %s, %s", err, succeeded("one"), succeeded("same"))
	}
	reg.Breaks(nil)
	if s.must(text); !succeeded("one").Equal(s.now) || !succeeded("same").Equal(s.now) {
		t.Errorf("%s, %s", succeeded("one"), succeeded("same"))
	}
}

// TestSyncExitCode: that an image offers more than one for a platform is no mistake
// in the catalogue.
func TestSyncExitCode(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	amd, arm := reg.Push("a", "", testshelf.Boot{Version: "1"}), reg.Push("a", "", testshelf.Boot{Version: "1", Arch: "arm64"})
	reg.Index("a", "both", testshelf.On("amd64", amd), testshelf.On("arm64", arm))
	r, err := s.run("- {ref: '" + reg.Host() + "/a:both'}\n")
	var sum *Error
	if !errors.As(err, &sum) || sum.ExitCode() != 1 || r.Failures[0].Kind != extract.FailPlatform || sum.Hint() == "" {
		t.Errorf("%v", err)
	}
}

// TestSyncSparesBootingMachines: a tree that left the catalogue goes when nobody boots
// from it any more, and that it stays until then is no failure.
func TestSyncSparesBootingMachines(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "v1", testshelf.Boot{Version: "1"})
	d := reg.Push("a", "v2", testshelf.Boot{Version: "2"})
	s.opts.Prune = true
	s.must("- {repository: " + reg.Host() + "/a, tags: 'v*'}\n")
	text := "- {ref: '" + reg.Host() + "/a:v1'}\n"
	s.must(text)
	s.now = s.now.Add(bootdir.DefaultGrace)
	server, err := bootdir.View(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	hold, err := server.Hold(d.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	if r := s.must(text); len(r.Left) != 1 || r.Left[0].Removed || !strings.Contains(r.Left[0].Reason, "machines are booting") || len(s.warned) != 0 {
		t.Errorf("%+v %q", r.Left, s.warned)
	}
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	if r := s.must(text); len(r.Left) != 1 || !r.Left[0].Removed {
		t.Errorf("%+v", r.Left)
	}
}
