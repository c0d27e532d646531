//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	tr := tree{"a/done": "a file that is complete", "a/same": "a file that is complete", "b/torn": "a file that is torn", "c/none": "never begun", "keep": "live already"}
	mustInstall(t, dir, live, ModeDir, tree{"keep": "live already"}, Options{})
	d := openTest(t, dir, Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	if s.HasLeftovers() || s.Leftover("b/torn") != nil {
		t.Error("leftovers of nothing")
	}
	must(t, stageSlowly(s, "a/done", tr["a/done"]))
	must(t, stageSlowly(s, "a/same", tr["a/same"])) // a link of the first
	must(t, stageSlowly(s, "keep", tr["keep"]))     // a link of the live file
	f, err := s.Create("b/torn", int64(len(tr["b/torn"])))
	must(t, err)
	_, err = f.Write([]byte(tr["b/torn"][:7]))
	must(t, err)
	f.Suspend()
	f.Abort()
	s.Suspend()
	s.Discard()
	must(t, d.Close())
	if got := partialFiles(t, dir); len(got) != 3 {
		t.Fatalf("kept %q", got)
	}

	d = openTest(t, dir, Options{})
	other, err := d.Begin(context.Background(), "another/tree")
	must(t, err)
	if other.HasLeftovers() {
		t.Error("another tree has these leftovers")
	}
	other.Discard()
	s, err = d.Begin(context.Background(), live)
	must(t, err)
	defer s.Suspend()
	if !s.HasLeftovers() || s.Leftover("c/none") != nil {
		t.Error("leftovers are not found")
	}
	l := s.Leftover("b/torn")
	b := make([]byte, 7)
	if n, err := l.ReadAt(b, 0); n != 7 || err != nil || l.Size() != 7 || string(b) != "a file " {
		t.Errorf("torn file: %q, %v", b[:n], err)
	}
	must(t, l.Close())
	if done, err := s.Reuse("b/torn", sha(tr["b/torn"]), -1); done || err != nil {
		t.Errorf("reused a torn file: %v", err)
	}
	if done, err := s.Reuse("a/done", sha("another version"), -1); done || err != nil {
		t.Errorf("reused another version: %v", err)
	}
	for _, p := range []string{"a/same", "a/done"} { // the second from the first
		if done, err := s.Reuse(p, sha(tr[p]), -1); !done || err != nil {
			t.Errorf("%s is not reused: %v", p, err)
		}
	}
	for _, p := range tr.paths() {
		if s.files[p].sha256 == "" {
			must(t, stageSlowly(s, p, tr[p]))
		}
	}
	if _, err := s.Commit(context.Background(), tr.image(), &Tree{}); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	record, err := d.Tree(live)
	must(t, err)
	if problems, err := d.Drift(context.Background(), record, true); err != nil || len(problems) > 0 {
		t.Errorf("drift: %v %v", problems, err)
	}
}

// TestLeftoverAfterKill: files that were complete are not fetched again, and
// come with a time after the one they replace.
func TestLeftoverAfterKill(t *testing.T) {
	dir := t.TempDir()
	old := tree{"file": "old"}
	now := time.Now()
	mustInstall(t, dir, live, ModeDir, old, Options{Now: clock(now.Add(-time.Hour))})
	next := tree{"file": "a long new file", "g": "another long file"}
	err := resumer(live, next)(dir, Options{hook: killAtWrite(9), Now: clock(now.Add(-2 * time.Hour))})
	if !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	must(t, os.Chtimes(filepath.Join(dir, live, "file"), now, now.Add(time.Hour)))
	var written []string
	err = resumer(live, next)(dir, Options{hook: func(op, p string) error {
		if op == "create" && strings.Contains(p, "/"+stagedGeneration+"/") {
			written = append(written, filepath.Base(p))
		}
		return nil
	}})
	must(t, err)
	if fmt.Sprint(written) != "[g]" {
		t.Errorf("written: %q", written)
	}
	st, err := os.Stat(filepath.Join(dir, live, "file"))
	if err != nil || !st.ModTime().After(now.Add(time.Hour)) {
		t.Errorf("time went back: %v %v", st.ModTime(), err)
	}
}

// TestLeftoverDamaged: what a cut has left is read from the disk before it
// counts, and is in nobody's way when it is wrong.
func TestLeftoverDamaged(t *testing.T) {
	dir := t.TempDir()
	next := tree{"file": "a long new file", "g": "another long file"}
	interrupted(live, next, 9)(t, dir)
	must(t, openOnlyWith(dir, Options{partialMin: 1}))
	var done string
	for _, name := range partialFiles(t, dir) {
		if strings.HasPrefix(filepath.Base(name), "file-") && readAll(t, name) == next["file"] {
			done = name
		}
	}
	must(t, os.Chmod(done, 0o600))
	must(t, os.WriteFile(done, []byte("a long nEw file"), 0o600))
	must(t, os.Chmod(done, 0o444))
	must(t, resumer(live, next)(dir, Options{}))
	if readAll(t, filepath.Join(dir, live, "file")) != next["file"] || len(leftovers(t, dir)) > 0 {
		t.Error("a damaged file came in, or stays")
	}
}

func openOnlyWith(dir string, o Options) error {
	d, err := Open(context.Background(), dir, o)
	if err != nil {
		return err
	}
	return d.Close()
}

// TestLeftoversOfManyCuts: a run that is cut off early does not cost what a
// longer one before it has brought.
func TestLeftoversOfManyCuts(t *testing.T) {
	dir := t.TempDir()
	next := tree{"a": "a long new file", "b": "another long file", "c": "one more long file"}
	best := 0
	for n := 1; ; n++ {
		_ = resumer(live, next)(dir, Options{hook: killAtWrite(n%5 + n/5)})
		must(t, openOnlyWith(dir, Options{partialMin: 1}))
		var total int
		for _, name := range partialFiles(t, dir) {
			st, err := os.Stat(name)
			must(t, err)
			total += int(st.Size())
		}
		if _, err := os.Stat(filepath.Join(dir, live)); err == nil {
			break
		}
		if total < best {
			t.Fatalf("after a cut at write %d only %d bytes of %d are left", n, total, best)
		}
		best = total
	}
	if best == 0 || len(leftovers(t, dir)) > 0 {
		t.Errorf("best %d, left %q", best, leftovers(t, dir))
	}
}

func TestDiscardKeepsNothing(t *testing.T) {
	dir := t.TempDir()
	d := openTest(t, dir, Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	must(t, stageSlowly(s, "file", "content"))
	s.Discard()
	if got := partialFiles(t, dir); len(got) > 0 {
		t.Errorf("kept %q", got)
	}
	must(t, d.Close())
	if _, err := os.Stat(filepath.Join(dir, stateName)); err == nil {
		t.Error("the state directory stays")
	}
}
