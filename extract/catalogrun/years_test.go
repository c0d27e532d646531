package catalogrun

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSyncTwinFollowsItsEntry: two references that make the same tree are one
// tree only while their entries say so.
func TestSyncTwinFollowsItsEntry(t *testing.T) {
	for name, tc := range map[string]struct{ first, second string }{
		"the later one moves away":   {"", ", layout: 'other/{os.name}'"},
		"the earlier one moves away": {", layout: 'other/{os.name}'", ""},
		"another label":              {"", ", set: {os.version: '9'}"},
	} {
		t.Run(name, func(t *testing.T) {
			reg, s := testshelf.New(t), newSyncer(t)
			reg.Push("a", "one", testshelf.Boot{Version: "1"})
			reg.Push("a", "same", testshelf.Boot{Version: "1"})
			text := func(first, second string) string {
				return "- {ref: '" + reg.Host() + "/a:one'" + first + "}\n- {ref: '" + reg.Host() + "/a:same'" + second + "}\n"
			}
			if r := s.must(text("", "")); r.Changed != 1 || len(r.Skipped) != 1 {
				t.Fatalf("%+v", r)
			}
			if r := s.must(text(tc.first, tc.second)); len(r.Skipped) != 0 || r.Changed != 1 || r.Unchanged != 1 {
				t.Errorf("skipped %+v, %d changed, %d unchanged", r.Skipped, r.Changed, r.Unchanged)
			}
		})
	}
}

// TestSyncOnePathOfTwo: of an entry with two paths one is taken over by another entry that
// makes the same tree, and is told of once.
func TestSyncOnePathOfTwo(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "one", testshelf.Boot{Version: "1"})
	reg.Push("a", "same", testshelf.Boot{Version: "1"})
	both := "- {ref: '" + reg.Host() + "/a:same', layout: ['x/{os.name}', 'y/{os.name}']}\n"
	if r := s.must(both); r.Changed != 2 {
		t.Fatalf("%+v", r)
	}
	for range 2 {
		r := s.must("- {ref: '" + reg.Host() + "/a:one', layout: 'x/{os.name}'}\n" + both)
		if len(r.Trees) != 2 || r.Changed+r.Unchanged != 2 || r.Trees[0].Path == r.Trees[1].Path {
			t.Errorf("%d changed, %d unchanged: %+v", r.Changed, r.Unchanged, r.Trees)
		}
	}
}

// TestSyncClockJumps: a run under a clock that is years ahead does not keep trees
// for years.
func TestSyncClockJumps(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	text := ""
	for _, v := range []string{"1", "2", "3"} {
		reg.Push("a", v, testshelf.Boot{Version: v})
		text += "- {ref: '" + reg.Host() + "/a:" + v + "'}\n"
	}
	s.opts.Prune = true
	s.must(text)
	less := text[:strings.LastIndex(strings.TrimSpace(text), "\n")+1]
	now := s.now
	s.now = now.AddDate(12, 0, 0)
	s.must(less)
	s.now = now.Add(time.Hour)
	s.must(less)
	s.now = now.Add(time.Hour + bootdir.DefaultGrace)
	if r := s.must(less); len(r.Left) != 1 || !r.Left[0].Removed {
		t.Errorf("%+v", r.Left)
	}
}

// TestSyncForgetsChildren: tags of every night for years do not fill the memory.
func TestSyncForgetsChildren(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &State{Children: map[string]map[string]childState{
		"a": {"gone": {Checked: now.Add(-childMemory - time.Hour)}, "there": {Checked: now.Add(-childRecheck)}},
		"b": {"gone": {Checked: now.AddDate(-1, 0, 0)}},
	}}
	s.forget("test", map[string]bool{}, now)
	if len(s.Children) != 1 || len(s.Children["a"]) != 1 || s.Children["a"]["there"].Checked.IsZero() {
		t.Errorf("%+v", s.Children)
	}
}

// TestSyncDamagedMemory: what is remembered saves questions; where it is damaged,
// trees are kept up to date nevertheless.
func TestSyncDamagedMemory(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	reg.Push("a", "1", testshelf.Boot{Version: "1"})
	text := "- {ref: '" + reg.Host() + "/a:1'}\n"
	s.must(text)
	note := filepath.Join(s.dir, ".nbextract", stateNote)
	for _, damaged := range []string{"", "\x00\x00\x00\x00", `{"version":1,"runs":[]}`} {
		if err := os.WriteFile(note, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		reg.Push("a", "1", testshelf.Boot{Version: "1", Files: map[string]string{"vmlinuz": "new " + damaged}})
		if r := s.must(text); r.Changed != 1 || len(s.warned) != 1 || !strings.Contains(s.warned[0], stateNote) {
			t.Errorf("%q: %d changed, warned %q", damaged, r.Changed, s.warned)
		}
		if r := s.must(text); r.Changed != 0 || len(s.warned) != 0 {
			t.Errorf("%q: %d changed, warned %q", damaged, r.Changed, s.warned)
		}
	}
	// That of a later release is not ours to replace.
	if err := os.WriteFile(note, []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := s.run(text); err == nil || !strings.Contains(r.Failures[0].Message, "version 2") {
		t.Errorf("%v, warned %q", err, s.warned)
	}
}

// TestSyncAllowDowngrade: an entry may say that steps back are wanted.
func TestSyncAllowDowngrade(t *testing.T) {
	reg, s := testshelf.New(t), newSyncer(t)
	later, earlier := s.now, s.now.AddDate(0, -1, 0)
	reg.Push("a", "v", testshelf.Boot{Version: "1", Created: &later})
	text := "- {ref: '" + reg.Host() + "/a:v'"
	s.must(text + "}\n")
	reg.Push("a", "v", testshelf.Boot{Version: "1", Created: &earlier})
	if r, err := s.run(text + "}\n"); err == nil || len(r.Failures) != 1 || r.Failures[0].Kind != extract.FailRefused {
		t.Errorf("%v %+v", err, r)
	}
	if r := s.must(text + ", allow-downgrade: true}\n"); r.Changed != 1 {
		t.Errorf("%+v", r)
	}
}
