package catalogrun

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncRetention: trees go only when asked for, late, and not all at once.
func TestSyncRetention(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	for i := range 4 {
		reg.Push("a", fmt.Sprint("v", i), testshelf.Boot{Version: fmt.Sprint(i)})
	}
	refs := func(n int) (text string) {
		for i := range n {
			text += fmt.Sprintf("- {ref: '%s/a:v%d'}\n", reg.Host(), i)
		}
		return text
	}
	live := func() (n int) {
		list, err := extract.Status(t.Context(), s.dir)
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
	s.must(refs(1) + "- {ref: '" + reg.Host() + "/a:v1'}\n- {ref: '" + reg.Host() + "/a:v2'}\n")
	r, err := s.run(refs(1))
	if err == nil || r.Failures[0].Kind != extract.FailRetention || live() != 3 {
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

// TestSyncEmptyList: a registry that lists nothing empties no server, whatever the catalogue allows.
func TestSyncEmptyList(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	for i := range 5 {
		reg.Push("a", fmt.Sprint("v", i), testshelf.Boot{Version: fmt.Sprint(i)})
	}
	s.opts.Prune, s.opts.Force = true, true
	text := "- {repository: " + reg.Host() + "/a, tags: '*'}\n"
	s.must(text)
	for name, body := range map[string]string{"no tags": `{"name":"a","tags":[]}`, "null": `{"name":"a","tags":null}`, "others": `{"name":"a","tags":[]}`} {
		reg.Breaks(func(w http.ResponseWriter, r *http.Request) bool {
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
		if list, err := extract.Status(t.Context(), s.dir); err != nil || len(list) != 5 {
			t.Errorf("%s: %v, %d trees left", name, err, len(list))
		}
	}
}

// TestSyncMaxAge warns of tags that stand still.
func TestSyncMaxAge(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	old := s.now.Add(-40 * 24 * time.Hour)
	reg.Push("a", "old", testshelf.Boot{Version: "1", Created: &old})
	reg.Push("a", "new", testshelf.Boot{Version: "2"})
	text := "- {repository: " + reg.Host() + "/a, tags: '*', max-age: 30d}\n"
	if r := s.must(text); len(r.Stale) != 1 || r.Stale[0].Path != "os/1/amd64" || len(s.warned) != 1 {
		t.Errorf("%+v %q", r.Stale, s.warned)
	}
	s.now = s.now.Add(time.Hour)
	if r := s.must(text); len(r.Stale) != 1 || len(s.warned) != 0 {
		t.Errorf("an hour later: %+v %q", r.Stale, s.warned)
	}
	s.now = s.now.Add(31 * 24 * time.Hour)
	if r := s.must(text); len(r.Stale) != 2 || len(s.warned) != 2 {
		t.Errorf("%+v %q", r.Stale, s.warned)
	}
	// The entry says it, else the caller.
	s.opts.MaxAge = time.Hour
	if r := s.must("- {ref: '" + reg.Host() + "/a:new', max-age: 1000d}\n- {ref: '" + reg.Host() + "/a:old'}\n"); len(r.Stale) != 1 {
		t.Errorf("%+v", r.Stale)
	}
	s.opts.MaxAge = 0
	reg.Push("a", "old", testshelf.Boot{Version: "1", Files: map[string]string{"vmlinuz": "v"}})
	if r := s.must(text); len(r.Stale) != 1 {
		t.Errorf("%+v", r.Stale)
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
