//go:build linux

package bootdir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestViewChangesNothing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	d, err := View(missing)
	must(t, err)
	if trees, err := d.Trees(); err != nil || trees != nil || d.Holds(sha("x")) || d.HasGeneration(treeA.image().Digest) {
		t.Errorf("a missing directory is not empty: %v %v", trees, err)
	}
	must(t, d.CheckLive(live))
	must(t, d.Space(1, 1))
	must(t, d.Close())
	if _, err := os.Lstat(missing); err == nil {
		t.Error("made the directory")
	}

	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	truncated(live, "vmlinuz")(t, dir)
	must(t, os.Chtimes(filepath.Join(dir, live, "initrd.img"), time.Now(), time.Now()))
	before := snapshot(t, filepath.Join(dir, stateName))
	d, err = View(dir)
	must(t, err)
	defer d.Close()
	record, err := d.Tree(live)
	must(t, err)
	problems, err := d.Drift(context.Background(), record, true)
	if err != nil || fmt.Sprint(problems) != "[{vmlinuz wrong size}]" {
		t.Errorf("drift: %v %v", problems, err)
	}
	if _, err := d.Begin(context.Background(), live); err == nil {
		t.Error("began a stage without the lock")
	}
	if err := d.UpdateTree(record); err == nil {
		t.Error("wrote a record without the lock")
	}
	if !maps.Equal(before, snapshot(t, filepath.Join(dir, stateName))) {
		t.Error("something changed")
	}
}

func TestDriftFindsEverything(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, live)
	mustInstall(t, dir, live, ModeDir, treeB, Options{})
	must(t, os.Remove(at+"/new"))
	must(t, os.Chmod(at+"/vmlinuz", 0o600))
	must(t, os.Remove(at+"/efi/boot/BOOT"))
	must(t, os.Symlink("elsewhere", at+"/efi/boot/BOOT"))
	must(t, os.Remove(at+"/efi/boot/BOOT.efi"))
	writeFile(t, at+"/efi/boot/BOOT.efi", "a file", 0o444)
	must(t, os.Remove(at+"/dir"))
	must(t, os.Remove(at+"/initrd.img"))
	writeFile(t, at+"/initrd.img", "INITRD BOTH", 0o444)
	d, err := Open(context.Background(), dir, Options{})
	must(t, err)
	defer d.Close()
	record, err := d.Tree(live)
	must(t, err)
	problems, err := d.Drift(context.Background(), record, false)
	must(t, err)
	want := "[{dir missing} {efi/boot/BOOT wrong link target} {efi/boot/BOOT.efi wrong type} {initrd.img wrong content} {new missing} {vmlinuz wrong mode}]"
	if fmt.Sprint(problems) != want {
		t.Errorf("got  %v\nwant %v", problems, want)
	}
	r, err := installIn(d, live, ModeDir, treeB)
	if err != nil || len(r.Warnings) > 0 {
		t.Fatalf("repair: %+v %v", r, err)
	}
	record, err = d.Tree(live)
	must(t, err)
	if problems, err := d.Drift(context.Background(), record, true); err != nil || len(problems) > 0 {
		t.Errorf("after repair: %v %v", problems, err)
	}
	must(t, os.RemoveAll(at))
	if problems, err := d.Drift(context.Background(), record, false); err != nil || fmt.Sprint(problems) != "[{. missing}]" {
		t.Errorf("without a tree: %v %v", problems, err)
	}
}

func TestEqualBytesInANewInodeAreRecordedAgain(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	file := filepath.Join(dir, live, "vmlinuz")
	must(t, os.Link(file, filepath.Join(dir, "another name"))) // only the change time moves
	d, err := Open(context.Background(), dir, Options{})
	must(t, err)
	defer d.Close()
	record, err := d.Tree(live)
	must(t, err)
	before := fmt.Sprint(record.Files)
	if problems, err := d.Drift(context.Background(), record, false); err != nil || len(problems) > 0 {
		t.Errorf("drift: %v %v", problems, err)
	}
	record, err = d.Tree(live)
	must(t, err)
	if fmt.Sprint(record.Files) == before {
		t.Error("the new change time was not recorded")
	}
}

func TestCheckLive(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	writeFile(t, filepath.Join(dir, "file"), "", 0o644)
	d, err := View(dir)
	must(t, err)
	defer d.Close()
	for _, bad := range []string{"", "/abs", "../up", "a/../b", "by-digest/x", "By-Digest", ".nbextract", "a/.hidden", "fedora",
		"fedora/40", live + "/sub", "file/x", "file"} {
		if err := d.CheckLive(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	// What the flat layout takes is known with the names of an image.
	for _, good := range []string{live, "fedora/41/amd64", "debian", FlatLive} {
		if err := d.CheckLive(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestKeepAndGrace(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	o := Options{Now: func() time.Time { return now }}
	trees := make([]tree, 4)
	for i := range trees {
		trees[i] = tree{"vmlinuz": fmt.Sprint("kernel ", i), "same": "same"}
		mustInstall(t, dir, live, ModeDir, trees[i], o)
		now = now.Add(10 * time.Hour)
	}
	count := func() int {
		names, _ := filepath.Glob(filepath.Join(dir, generationsName, "*"))
		return len(names)
	}
	// Superseded 30, 20 and 10 hours ago: the first went with the last commit
	// only if it was then past its grace, which it was not.
	if got := count(); got != 4 {
		t.Fatalf("%d generations, want 4", got)
	}
	strange := filepath.Join(dir, generationsName, strings.Repeat("0", 64))
	must(t, os.Mkdir(strange, 0o755))
	d, err := Open(context.Background(), dir, o)
	must(t, err)
	defer d.Close()
	removed, err := d.Prune(context.Background(), DefaultKeep, DefaultGrace)
	must(t, err)
	if len(removed) != 1 || removed[0] != trees[0].image().Digest {
		t.Errorf("removed %q", removed)
	}
	record, err := d.Tree(live)
	must(t, err)
	files := fmt.Sprint(record.Files)
	if _, err := d.Drift(context.Background(), record, false); err != nil || fmt.Sprint(record.Files) != files {
		t.Errorf("files were hashed because a generation was pruned: %v", err)
	}
	record.Pinned = true
	must(t, d.UpdateTree(record))
	if removed, err := d.Prune(context.Background(), 1, time.Nanosecond); err != nil || len(removed) > 0 {
		t.Errorf("pruned a pinned tree: %q %v", removed, err)
	}
	record.Pinned = false
	must(t, d.UpdateTree(record))
	if removed, err := d.Prune(context.Background(), 1, time.Nanosecond); err != nil || len(removed) != 2 {
		t.Errorf("removed %q %v", removed, err)
	}
	if _, err := os.Stat(strange); err != nil {
		t.Error("removed a directory that no record knows")
	}
}

func TestSharedContentAcrossTrees(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, "a", ModeDir, tree{"k": "kernel", "i": "initrd"}, Options{})
	mustInstall(t, dir, "b", ModeDir, tree{"k2": "kernel", "other": "x"}, Options{})
	if inode(t, dir+"/a/k") != inode(t, dir+"/b/k2") {
		t.Error("equal content is stored twice")
	}
	mustInstall(t, dir, "b", ModeDir, tree{"other": "y"}, Options{})
	if readAll(t, dir+"/a/k") != "kernel" {
		t.Error("a tree lost a file to another")
	}
}

func TestDamagedRecords(t *testing.T) {
	for _, pattern := range []string{journalName, treesName + "/*", imagesName + "/*"} {
		t.Run(pattern, func(t *testing.T) {
			dir := t.TempDir()
			mustInstall(t, dir, live, ModeDir, treeA, Options{})
			state := filepath.Join(dir, stateName)
			names, _ := filepath.Glob(filepath.Join(state, pattern))
			if pattern == journalName {
				names = []string{filepath.Join(state, journalName)}
			}
			for _, n := range names {
				must(t, os.WriteFile(n, []byte(`{"version":1,"version":2}`), 0o600))
			}
			before := snapshot(t, dir)
			_, err := install(dir, live, ModeDir, treeB, Options{})
			var advice interface{ Hint() string }
			var code interface{ ExitCode() int }
			if !errors.As(err, &advice) || errors.As(err, &code) {
				t.Errorf("got %v", err)
			}
			if !maps.Equal(before, snapshot(t, dir)) {
				t.Error("the tree changed")
			}
		})
	}
}

func TestFailureAfterTheExchangeIsAWarning(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	o := Options{hook: func(op, path string) error {
		if op == "rename" && strings.HasPrefix(path, stateName+"/"+treesName) {
			return unix.EIO
		}
		return nil
	}}
	d, err := Open(context.Background(), dir, o)
	must(t, err)
	defer d.Close()
	r, err := installIn(d, live, ModeDir, treeB)
	if err != nil || !r.Changed || len(r.Warnings) != 1 || !d.Pending() {
		t.Fatalf("%+v %v pending %v", r, err, d.Pending())
	}
	d.ops.hook = nil // the disk is well again: the next stage finishes it first
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	s.Discard()
	record, err := d.Tree(live)
	if err != nil || record.Digest != treeB.image().Digest || len(leftovers(t, dir)) > 0 {
		t.Errorf("%v %v left %q", record, err, leftovers(t, dir))
	}
}

func TestStageRefusesNonsense(t *testing.T) {
	dir := t.TempDir()
	ctx := context.Background()
	d, err := Open(ctx, dir, Options{})
	must(t, err)
	defer d.Close()
	s, err := d.Begin(ctx, live)
	must(t, err)
	defer s.Discard()
	for name, err := range map[string]error{
		"path":         second(s.Create("../x", 1)),
		"mkdir":        s.Mkdir("/abs"),
		"link outside": s.Symlink("a/b", "../../x"),
		"reserved":     s.Symlink(".nbextract", "x"),
		"long":         writeTooMuch(s),
		"hash":         func() error { f, _ := s.Create("hash", 1); f.Write([]byte("x")); return f.Close(sha("y")) }(),
		"short":        func() error { f, _ := s.Create("short", 2); f.Write([]byte("x")); return f.Close(sha("x")) }(),
		"unfinished":   s.Link("a", "nothing"),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	must(t, writeStaged(s, "twice", "x"))
	if _, err := s.Create("twice", 1); err == nil {
		t.Error("created a file twice")
	}
	must(t, s.Link("again", "twice"))
	tr := tree{"twice": "x"}
	if _, err := s.Commit(ctx, tr.image(), &Tree{}); err == nil {
		t.Error("committed more than was listed")
	}
	tr = tree{"twice": "x", "again": "x", "absent": "y"}
	if _, err := s.Commit(ctx, tr.image(), &Tree{}); err == nil {
		t.Error("committed less than was listed")
	}
	if got := snapshot(t, dir); len(got) != 1 {
		t.Errorf("something is visible: %v", got)
	}
}

func second[T any](_ T, err error) error { return err }

func writeTooMuch(s *Stage) error {
	f, err := s.Create("long", 1)
	if err != nil {
		return nil
	}
	defer f.Abort()
	_, err = f.Write([]byte("xx"))
	return err
}

func TestSpace(t *testing.T) {
	d, err := View(t.TempDir())
	must(t, err)
	defer d.Close()
	must(t, d.Space(1000, 3))
	if err := d.Space(1<<60, 1); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
}

func TestCancelledBeforeTheJournal(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	before := snapshot(t, dir)
	d, err := Open(context.Background(), dir, Options{})
	must(t, err)
	defer d.Close()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := d.Begin(ctx, live)
	must(t, err)
	must(t, stageTree(s, treeB))
	cancel()
	if _, err := s.Commit(ctx, treeB.image(), &Tree{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.Discard()
	if !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
		t.Error("something is left")
	}
}

func TestWithoutExchangeNewTreesAreLinks(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, simple(Options{}))
	if hex, err := os.Readlink(filepath.Join(dir, live)); err != nil || !strings.HasPrefix(hex, "../../by-digest/") {
		t.Errorf("%q %v", hex, err)
	}
	mustInstall(t, dir, live, ModeDir, treeB, simple(Options{}))

	dir = t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	before := snapshot(t, dir)
	_, err := install(dir, live, ModeDir, treeB, simple(Options{}))
	if err == nil || !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
		t.Errorf("a real directory was replaced without --allow-gap: %v", err)
	}
	o := simple(Options{})
	o.AllowGap = true
	mustInstall(t, dir, live, ModeLink, treeB, o)
	if readAll(t, filepath.Join(dir, live, "vmlinuz")) != "kernel B" {
		t.Error("not updated")
	}
}

func TestMountPointBelowTheTree(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, live)
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	must(t, os.Mkdir(at+"/site", 0o755))
	if err := unix.Mount(t.TempDir(), at+"/site", "", unix.MS_BIND, ""); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	defer unix.Unmount(at+"/site", 0)
	if _, err := install(dir, live, ModeDir, treeB, Options{}); err == nil || !strings.Contains(err.Error(), "mount point") {
		t.Errorf("got %v", err)
	}
	if readAll(t, at+"/vmlinuz") != "kernel A" || len(leftovers(t, dir)) > 0 {
		t.Error("something changed")
	}
}

func TestRealFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=200k"); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	defer unix.Unmount(dir, 0)
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	before := snapshot(t, dir)
	big := tree{"vmlinuz": strings.Repeat("x", 300<<10)}
	if _, err := install(dir, live, ModeDir, big, Options{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
		t.Error("something changed")
	}
	mustInstall(t, dir, live, ModeDir, treeB, Options{})
}
