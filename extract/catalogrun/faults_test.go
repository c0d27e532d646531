package catalogrun

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncFailuresStandAlone: one image fails, the others go on.
func TestSyncFailuresStandAlone(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "good", testshelf.Boot{Version: "1"})
	reg.Push("a", "bad", testshelf.Boot{Version: "2", Files: map[string]string{"../x": "escape"}})
	reg.Push("b", "other", testshelf.Boot{Version: "3"})
	ref := func(name string) string { return "- {ref: '" + reg.Host() + "/" + name + "'}\n" }
	r, err := s.run(ref("a:bad") + ref("a:gone") + ref("a:good") + ref("b:other"))
	var sum *Error
	if !errors.As(err, &sum) || sum.ExitCode() != 1 || r.Changed != 2 || len(r.Failures) != 2 {
		t.Fatalf("%v, %+v", err, r)
	}
	if r.Failures[0].Kind != extract.FailNotFound && r.Failures[1].Kind != extract.FailNotFound {
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
	reg.Push("a", "gone", testshelf.Boot{Version: "4"})
	s.must(ref("a:gone"))
	state, err := ReadState(s.dir)
	if err != nil || !state.References["docker://"+reg.Host()+"/a:gone"].FailingSince.IsZero() || !state.Runs["test"].Succeeded.Equal(s.now) {
		t.Errorf("%v %+v", err, state)
	}
}

// TestSyncRegistryDown: the trees stay, the run ends soon and says since when.
func TestSyncRegistryDown(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	text := ""
	for i := range 40 {
		reg.Push("a", fmt.Sprint("v", i), testshelf.Boot{Version: fmt.Sprint(i)})
		text += fmt.Sprintf("- {ref: '%s/a:v%d'}\n", reg.Host(), i)
	}
	s.must(text)
	reg.Asked()
	reg.Breaks(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	r, err := s.run(text)
	if asked := len(reg.Asked()); asked > 5*(breakerLimit+defaultConcurrency) {
		t.Errorf("a registry that is down was asked %d times", asked)
	}
	if err == nil || len(r.Failures) != 40 || r.Failures[0].Kind != extract.FailNetwork {
		t.Fatalf("%v, %d failures", err, len(r.Failures))
	}
	list, err := extract.Verify(t.Context(), s.dir)
	if err != nil || len(list) != 40 || damaged(list) {
		t.Errorf("%v: %d trees", err, len(list))
	}
	s.now = s.now.Add(3 * time.Hour)
	reg.Close()
	if _, err := s.run(text); err == nil || !strings.Contains(s.warned[0], "it fails since 2026-01-01 00:00 UTC") {
		t.Errorf("%v %q", err, s.warned[0])
	}
}

// TestSyncLocked: another run's lock is respected, or waited for.
func TestSyncLocked(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "v", testshelf.Boot{Version: "1"})
	text := "- {ref: '" + reg.Host() + "/a:v'}\n"
	d, err := bootdir.Open(t.Context(), s.dir, bootdir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.run(text)
	var sum *Error
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

// TestSyncWeek: a week of hourly runs leaves nothing but trees, generations that are to be kept, and one small note.
func TestSyncWeek(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	s.opts.Prune = true
	text := "- {repository: " + reg.Host() + "/a, tags: 'v*', newest: 3, keep: 2}\n"
	hours := 7 * 24
	if testing.Short() {
		hours = 60
	}
	for h := range hours {
		if h%5 == 0 { // a tag moves
			reg.Push("a", fmt.Sprint("v", h/24), testshelf.Boot{Version: fmt.Sprint(h / 24), Files: map[string]string{"vmlinuz": fmt.Sprint("kernel ", h)}})
		}
		down := h%11 == 3
		reg.Breaks(func(w http.ResponseWriter, r *http.Request) bool {
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
	reg.Breaks(nil)
	for range 2 { // what is on its way out
		s.now = s.now.Add(25 * time.Hour)
		s.must(text)
	}
	list, err := extract.Verify(t.Context(), s.dir)
	if err != nil || len(list) != 3 || damaged(list) {
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

// TestSyncMirror: a mirror of the catalogue is asked first, the registry when it is gone.
func TestSyncMirror(t *testing.T) {
	reg, mirror, s := testshelf.New(t), testshelf.New(t), newSyncer(t)
	reg.Push("a/b", "v", testshelf.Boot{Version: "1"})
	mirror.Push("copy/b", "v", testshelf.Boot{Version: "1"})
	text := fmt.Sprintf("destination: %s\nmirrors: {'%s/a': ['%s/copy']}\nimages:\n- ref: '%s/a/b:v'\n", s.dir, reg.Host(), mirror.Host(), reg.Host())
	c, entries, err := catalog.Parse("c", "c", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.runCatalog(c, entries); err != nil || r.Changed != 1 || len(reg.Asked()) != 0 {
		t.Errorf("%v", err)
	}
	mirror.Close()
	reg.Push("a/b", "v", testshelf.Boot{Version: "1", Files: map[string]string{"vmlinuz": "new"}})
	if r, err := s.runCatalog(c, entries); err != nil || r.Changed != 1 {
		t.Errorf("%v", err)
	}
}
