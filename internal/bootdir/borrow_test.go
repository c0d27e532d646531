//go:build linux

package bootdir

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loosely stages one file without a proof.
func loosely(s *Stage, p, content string) error {
	f, err := s.Create(p, int64(len(content)))
	if err != nil {
		return err
	}
	if _, err := io.WriteString(f, content); err != nil {
		f.Abort()
		return err
	}
	return f.CloseLoose()
}

func TestLooseFiles(t *testing.T) {
	dir := t.TempDir()
	before := tree{"keep": "live already", "old": "under another name"}
	after := tree{"keep": "live already", "new": "under another name", "fresh": "never seen"}
	mustInstall(t, dir, live, ModeDir, before, Options{})
	kept := inode(t, filepath.Join(dir, live, "keep"))
	d := openTest(t, dir, Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	borrow := func(p, content string, size int) bool {
		t.Helper()
		ok, err := s.Borrow(p, sha(content), int64(size))
		must(t, err)
		return ok
	}
	if borrow("keep", after["keep"], 3) || borrow("fresh", after["fresh"], 10) {
		t.Error("borrowed what is not there, or has another size")
	}
	if !borrow("keep", after["keep"], 12) || !borrow("new", after["new"], 18) {
		t.Fatal("not borrowed")
	}
	must(t, loosely(s, "fresh", "wrong"))
	must(t, s.Reject("fresh"))
	must(t, loosely(s, "fresh", after["fresh"]))
	img := after.image()
	record := func() *Tree { return &Tree{Reference: "registry.example/boot:2", TagDigest: img.Digest, Mode: ModeDir} }
	for _, p := range after.paths() {
		if _, err := s.Commit(context.Background(), img, record()); err == nil {
			t.Fatalf("committed before %q was proved", p)
		}
		r, err := s.Open(p)
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, errors.Join(err, r.Close()))
		if string(b) != after[p] {
			t.Errorf("%q holds %q", p, b)
		}
		must(t, s.Prove(p, sha(string(b))))
	}
	if s.Prove("keep", sha("x")) == nil || s.Reject("keep") == nil {
		t.Error("a finished file is no loose one")
	}
	if _, err := s.Commit(context.Background(), img, record()); err != nil {
		t.Fatal(err)
	}
	if got := inode(t, filepath.Join(dir, live, "keep")); got != kept {
		t.Error("a borrowed file has another inode")
	}
	if got := readAll(t, filepath.Join(dir, live, "new")); got != after["new"] {
		t.Errorf("new holds %q", got)
	}
}

// Of several files with a content that is recorded, the one that is live at the
// path is borrowed; one of the wrong size is passed over.
func TestBorrowPlaces(t *testing.T) {
	dir := t.TempDir()
	tr := tree{"a": "the same", "b": "the same"}
	mustInstall(t, dir, live, ModeDir, tr, Options{})
	d := openTest(t, dir, Options{})
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	b := filepath.Join(dir, live, "b")
	must(t, os.Remove(b))
	writeFile(t, b, "cut", 0o444)
	if ok, err := s.Borrow("b", sha("the same"), 8); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if f := s.Content(sha("the same")); f == nil {
		t.Error("no content")
	} else {
		must(t, f.Close())
	}
	if s.Content(sha("nothing")) != nil {
		t.Error("content of nothing")
	}
}

func TestChunkLists(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	o := Options{Keep: 1, Grace: time.Nanosecond, Now: func() time.Time { now = now.Add(time.Second); return now }}
	one, two := tree{"a": "1"}, tree{"a": "2"}
	mustInstall(t, dir, live, ModeDir, one, o)
	d := openTest(t, dir, o)
	list := "a list of chunks"
	d.KeepChunks(one.image().Digest, []byte(list))
	d.KeepChunks(one.image().Digest, []byte(list))
	if got := d.Chunks(one.image().Digest, sha(list)); string(got) != list {
		t.Errorf("got %q", got)
	}
	if d.Chunks(one.image().Digest, sha("other")) != nil || d.Chunks(two.image().Digest, sha(list)) != nil || d.Chunks("x", "y") != nil {
		t.Error("a list that nobody has kept")
	}
	_, err := installIn(d, live, ModeDir, two)
	must(t, err)
	d.KeepChunks(two.image().Digest, []byte(list))
	_, err = d.Prune(context.Background(), 1, time.Nanosecond)
	must(t, err)
	if d.Chunks(one.image().Digest, sha(list)) != nil || d.Chunks(two.image().Digest, sha(list)) == nil {
		t.Error("a list goes with its image, and not before")
	}
	files, err := filepath.Glob(filepath.Join(dir, stateName, chunksName, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v", files, err)
	}
	writeFile(t, files[0], "damaged", 0o600)
	if d.Chunks(two.image().Digest, sha(list)) != nil {
		t.Error("a damaged list")
	}
}

// A full disk, or any other error, loses a list and nothing else.
func TestChunkListThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	tr := tree{"a": "1"}
	mustInstall(t, dir, live, ModeDir, tr, Options{})
	d := openTest(t, dir, Options{hook: func(op, _ string) error {
		if op == "write" {
			return unix.ENOSPC
		}
		return nil
	}})
	d.KeepChunks(tr.image().Digest, []byte("list"))
	if d.Chunks(tr.image().Digest, sha("list")) != nil {
		t.Error("kept on a full disk")
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
