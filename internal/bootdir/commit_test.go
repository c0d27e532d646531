//go:build linux

package bootdir

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

const live = "fedora/40/amd64"

var treeA = tree{"SHA256SUM": "sums A\n", "vmlinuz": "kernel A", "initrd.img": "initrd both", "gone": "only in A",
	"efi/boot/shim.efi": "shim A", "efi/boot/BOOT": "-> shim.efi", "efi/boot/BOOT.efi": "-> shim.efi", "old/only/a": "a", "empty": ""}

var treeB = tree{"SHA256SUM": "sums B\n", "vmlinuz": "kernel B", "initrd.img": "initrd both", "new": "only in B",
	"efi/boot/shim.efi": "shim B is longer", "efi/boot/BOOT": "-> shim.efi", "efi/boot/BOOT.efi": "-> shim.efi", "dir/": "", "empty": ""}

func TestInstallUpdateNoop(t *testing.T) {
	for _, mode := range []LiveMode{ModeDir, ModeLink} {
		t.Run(string(mode), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a/tftp")
			r := mustInstall(t, dir, live, mode, treeA, Options{})
			if !r.Changed || r.Written != 7 || r.Kept != 0 {
				t.Fatalf("first install: %+v", r)
			}
			kept := inode(t, filepath.Join(dir, live, "initrd.img"))
			r = mustInstall(t, dir, live, mode, treeB, Options{})
			if !r.Changed || r.Written != 4 || r.Kept != 2 {
				t.Fatalf("update: %+v", r)
			}
			if now := inode(t, filepath.Join(dir, live, "initrd.img")); now != kept {
				t.Error("an equal file was written again")
			}
			got := visible(t, dir, live)
			want := map[string]string{".": "drwxr-xr-x", "SHA256SUM": "-r--r--r-- sums B\n", "vmlinuz": "-r--r--r-- kernel B",
				"initrd.img": "-r--r--r-- initrd both", "new": "-r--r--r-- only in B", "efi": "drwxr-xr-x", "efi/boot": "drwxr-xr-x",
				"efi/boot/shim.efi": "-r--r--r-- shim B is longer", "efi/boot/BOOT": "Lrwxrwxrwx -> shim.efi",
				"efi/boot/BOOT.efi": "Lrwxrwxrwx -> shim.efi", "dir": "drwxr-xr-x", "empty": "-r--r--r-- "}
			if !maps.Equal(got, want) {
				t.Errorf("tree:\n%q\nwant:\n%q", got, want)
			}
			// The next look must neither change nor hash anything.
			noop := 0
			o := Options{hook: func(op, path string) error { noop++; return nil }}
			if r := mustInstall(t, dir, live, mode, treeB, o); r.Changed || noop != 0 {
				t.Errorf("no-op: %+v, %d changes", r, noop)
			}
			d, err := View(dir)
			must(t, err)
			defer d.Close()
			record, err := d.Tree(live)
			must(t, err)
			before := append([]FileState(nil), record.Files...)
			if problems, err := d.Drift(context.Background(), record, false); err != nil || len(problems) > 0 {
				t.Errorf("drift after update: %v %v", problems, err)
			}
			for i, f := range record.Files {
				if f != before[i] {
					t.Errorf("%s was hashed on the no-change path", f.Path)
				}
			}
			if left := leftovers(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestUmaskDoesNotMatter(t *testing.T) {
	for _, mask := range []int{0, 0o077} {
		func() {
			old := unix.Umask(mask)
			defer unix.Umask(old)
			dir := filepath.Join(t.TempDir(), "up", "tftp")
			mustInstall(t, dir, live, ModeDir, treeA, Options{})
			for p, want := range map[string]os.FileMode{"": 0o755, "..": 0o755, live: 0o755, "fedora": 0o755, generationsName: 0o755,
				live + "/efi": 0o755, live + "/vmlinuz": 0o444, stateName: 0o700} {
				st, err := os.Stat(filepath.Join(dir, p))
				must(t, err)
				if p == ".." && os.Geteuid() < 0 {
					continue
				}
				if st.Mode().Perm() != want {
					t.Errorf("umask %03o: %q has mode %o, want %o", mask, p, st.Mode().Perm(), want)
				}
			}
		}()
	}
}

func TestTimesGoForward(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	file := filepath.Join(dir, live, "vmlinuz")
	mtime := func() time.Time {
		st, err := os.Stat(file)
		must(t, err)
		return st.ModTime()
	}
	mustInstall(t, dir, live, ModeDir, treeA, Options{Now: clock(at)})
	if got := mtime(); !got.Equal(at) {
		t.Fatalf("first: %v", got)
	}
	mustInstall(t, dir, live, ModeDir, treeB, Options{Now: clock(at.Add(-time.Hour))}) // the clock ran backwards
	if got := mtime(); !got.Equal(at.Add(time.Second)) {
		t.Errorf("update with an earlier clock: %v", got)
	}
	kept, err := os.Stat(filepath.Join(dir, live, "initrd.img"))
	must(t, err)
	if !kept.ModTime().Equal(at) {
		t.Errorf("a kept file's time changed to %v", kept.ModTime())
	}
	genInode := inode(t, filepath.Join(generationDir(dir, treeA), "vmlinuz"))
	mustInstall(t, dir, live, ModeDir, treeA, Options{Now: clock(at.Add(-time.Hour))}) // back to the old generation
	if got := mtime(); !got.Equal(at.Add(2 * time.Second)) {
		t.Errorf("rollback: %v", got)
	}
	if inode(t, file) != genInode {
		t.Error("rollback wrote a file that the generation has")
	}
}

func TestTruncatedFileIsFoundAndNotReused(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	mustInstall(t, dir, live, ModeDir, treeB, Options{})
	// Both generations and the live tree share this inode.
	file := filepath.Join(dir, live, "initrd.img")
	must(t, os.Chmod(file, 0o644))
	must(t, os.Truncate(file, 3))
	must(t, os.Chmod(file, 0o444))
	ctx := context.Background()
	d, err := Open(ctx, dir, Options{})
	must(t, err)
	defer d.Close()
	record, err := d.Tree(live)
	must(t, err)
	problems, err := d.Drift(ctx, record, false)
	must(t, err)
	if len(problems) != 1 || problems[0] != (Problem{"initrd.img", WrongSize}) {
		t.Fatalf("problems: %v", problems)
	}
	s, err := d.Begin(ctx, live)
	must(t, err)
	if ok, err := s.Reuse("initrd.img", sha("initrd both"), 11); ok || err != nil {
		t.Errorf("a truncated file was reused: %v %v", ok, err)
	}
	s.Discard()
	r, err := installIn(d, live, ModeDir, treeB)
	if err != nil || r.Written != 1 || len(r.Warnings) > 0 {
		t.Fatalf("repair: %+v %v", r, err)
	}
	if readAll(t, file) != "initrd both" || readAll(t, filepath.Join(generationDir(dir, treeB), "initrd.img")) != "initrd both" {
		t.Error("not repaired")
	}
}

func TestSameSizeDamageByChecksum(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	file := filepath.Join(dir, live, "vmlinuz")
	st, err := os.Stat(file)
	must(t, err)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs the right to write a read-only file")
	}
	_, err = f.WriteAt([]byte("K"), 0)
	must(t, err)
	must(t, f.Close())
	must(t, os.Chtimes(file, st.ModTime(), st.ModTime()))
	d, err := View(dir)
	must(t, err)
	defer d.Close()
	record, err := d.Tree(live)
	must(t, err)
	for _, checksum := range []bool{false, true} {
		problems, err := d.Drift(context.Background(), record, checksum)
		if err != nil || len(problems) != 1 || problems[0].What != WrongBytes {
			t.Errorf("checksum %v: %v %v", checksum, problems, err)
		}
	}
}

func TestNameClashRefused(t *testing.T) {
	for name, site := range map[string]func(p string) error{
		"file":    func(p string) error { return os.WriteFile(p, []byte("the site's"), 0o644) },
		"dir":     func(p string) error { return os.MkdirAll(p+"/sub", 0o755) },
		"symlink": func(p string) error { return os.Symlink("vmlinuz", p) },
		"fifo":    func(p string) error { return unix.Mkfifo(p, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustInstall(t, dir, live, ModeDir, treeA, Options{})
			must(t, site(filepath.Join(dir, live, "new")))
			before := snapshot(t, dir)
			_, err := install(dir, live, ModeDir, treeB, Options{})
			var refusal *spec.Refusal
			if !errors.As(err, &refusal) || refusal.Hint() == "" || refusal.Path != "new" {
				t.Fatalf("got %v", err)
			}
			if !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
				t.Error("something changed")
			}
		})
	}
}

func TestLyingRename(t *testing.T) {
	for _, live := range []string{live, FlatLive} {
		dir := t.TempDir()
		mustInstall(t, dir, live, ModeDir, treeA, Options{})
		before := snapshot(t, dir)
		o := Options{hook: func(op, path string) error {
			if op == "exchange" && filepath.Base(path) != "probe-b" && path != generationsName {
				return errPretend
			}
			return nil
		}}
		r, err := install(dir, live, ModeDir, treeB, o)
		if err == nil {
			t.Fatalf("%s: reported as success: %+v", live, r)
		}
		if !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
			t.Errorf("%s: something changed", live)
		}
		mustInstall(t, dir, live, ModeDir, treeB, Options{})
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(context.Background(), dir, Options{})
	must(t, err)
	_, err = Open(context.Background(), dir, Options{})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.Dir != dir || locked.ExitCode() != 75 || locked.Hint() == "" {
		t.Errorf("got %v", err)
	}
	must(t, d.Close())
	again, err := Open(context.Background(), dir, Options{})
	must(t, err)
	must(t, again.Close())
}
