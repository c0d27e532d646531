//go:build linux

package bootdir

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// justBefore gives options whose hook does something once, right before the
// live path is exchanged.
func justBefore(live string, do func()) Options {
	done := false
	return Options{hook: func(op, path string) error {
		if op == "exchange" && path == live && !done {
			done = true
			do()
		}
		return nil
	}}
}

func TestLateStrangers(t *testing.T) {
	for name, wrap := range map[string]func(Options) Options{"links": func(o Options) Options { return o }, "copies": linkless} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := filepath.Join(dir, live)
			mustInstall(t, dir, live, ModeDir, treeA, Options{})
			writeFile(t, at+"/inplace", "before", 0o644)
			writeFile(t, at+"/replaced", "before", 0o644)
			writeFile(t, at+"/untouched", "same", 0o600)
			o := justBefore(live, func() {
				writeFile(t, at+"/late", "late", 0o604)
				writeFile(t, at+"/efi/lateinside", "late", 0o644)
				writeFile(t, at+"/latedir/sub/file", "late", 0o644)
				writeFile(t, at+"/old/only/late", "its directory goes away", 0o644)
				f, err := os.OpenFile(at+"/inplace", os.O_WRONLY|os.O_APPEND, 0)
				must(t, err)
				_, err = f.WriteString(" and after")
				must(t, err)
				must(t, f.Close())
				writeFile(t, at+"/tmp", "after", 0o644)
				must(t, os.Rename(at+"/tmp", at+"/replaced"))
			})
			mustInstall(t, dir, live, ModeDir, treeB, wrap(o))
			got := visible(t, dir, live)
			for p, want := range map[string]string{"late": "-rw----r-- late", "efi/lateinside": "-rw-r--r-- late",
				"latedir/sub/file": "-rw-r--r-- late", "old/only/late": "-rw-r--r-- its directory goes away",
				"inplace": "-rw-r--r-- before and after", "replaced": "-rw-r--r-- after",
				"untouched": "-rw------- same", "vmlinuz": "-r--r--r-- kernel B"} {
				if got[p] != want {
					t.Errorf("%s: %q, want %q", p, got[p], want)
				}
			}
			if _, ok := got["gone"]; ok {
				t.Error("a stale file came back")
			}
			if left := leftovers(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestLateClashIsKeptAside(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, live)
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	r, err := install(dir, live, ModeDir, treeB, justBefore(live, func() { writeFile(t, at+"/new", "the site's", 0o644) }))
	must(t, err)
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], `"fedora/40/amd64/new"`) {
		t.Errorf("warnings: %q", r.Warnings)
	}
	kept, err := filepath.Glob(filepath.Join(dir, stateName, keptName, "*", live, "new"))
	must(t, err)
	if len(kept) != 1 || readAll(t, kept[0]) != "the site's" {
		t.Errorf("kept: %q", kept)
	}
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	if readAll(t, kept[0]) != "the site's" {
		t.Error("the next run removed it")
	}
}

func TestLateStrangerInADirectoryThatBecameAFile(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, live)
	mustInstall(t, dir, live, ModeDir, tree{"x/f": "1", "y": "2"}, Options{})
	r, err := install(dir, live, ModeDir, tree{"x": "1", "y/f": "2"}, justBefore(live, func() { writeFile(t, at+"/x/late", "late", 0o644) }))
	if err != nil || len(r.Warnings) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	kept, _ := filepath.Glob(filepath.Join(dir, stateName, keptName, "*", live, "x", "late"))
	if len(kept) != 1 || readAll(t, kept[0]) != "late" || readAll(t, at+"/x") != "1" || readAll(t, at+"/y/f") != "2" {
		t.Errorf("kept %q", kept)
	}
	d, err := View(dir)
	must(t, err)
	defer d.Close()
	if d.Pending() {
		t.Error("the commit is not finished")
	}
}

// A site that edits the new tree while a commit waits for its next run must
// not get its older version back.
func TestEditBetweenCrashAndRecovery(t *testing.T) {
	for name, wrap := range map[string]func(Options) Options{"links": func(o Options) Options { return o }, "copies": linkless} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := filepath.Join(dir, live)
			mustInstall(t, dir, live, ModeDir, treeA, Options{})
			writeFile(t, at+"/grub.cfg", "old menu", 0o644)
			writeFile(t, at+"/dropped", "x", 0o644)
			dead := false
			o := wrap(Options{hook: func(op, path string) error {
				if dead {
					return errKilled
				}
				dead = op == "exchange" && path == live
				return nil
			}})
			_, _ = install(dir, live, ModeDir, treeB, o)
			writeFile(t, at+"/edit", "new menu", 0o644)
			must(t, os.Rename(at+"/edit", at+"/grub.cfg"))
			must(t, os.Remove(at+"/dropped"))
			v, err := View(dir)
			must(t, err)
			if !v.Pending() {
				t.Error("View does not tell of the journal")
			}
			must(t, v.Close())
			must(t, openOnly(dir))
			if got := readAll(t, at+"/grub.cfg"); got != "new menu" {
				t.Errorf("the site's edit became %q", got)
			}
			if _, err := os.Lstat(at + "/dropped"); err == nil {
				t.Error("a file that the site removed came back")
			}
			if got := readAll(t, at+"/vmlinuz"); got != "kernel B" {
				t.Errorf("rolled back to %q after the exchange", got)
			}
			if left := leftovers(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestNothingBelowALinkIsTouched(t *testing.T) {
	for _, p := range []string{"fedora", "fedora/40", live} {
		t.Run(p, func(t *testing.T) {
			dir, elsewhere := t.TempDir(), t.TempDir()
			must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755))
			must(t, os.Symlink(elsewhere, filepath.Join(dir, p)))
			_, err := install(dir, live, ModeDir, treeA, Options{})
			var refusal *spec.Refusal
			if !errors.As(err, &refusal) || refusal.Hint() == "" {
				t.Errorf("got %v", err)
			}
			if names, _ := os.ReadDir(elsewhere); len(names) > 0 {
				t.Errorf("written through the link: %v", names)
			}
			if left := leftovers(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
	t.Run("the boot directory itself may be one", func(t *testing.T) {
		dir, real := filepath.Join(t.TempDir(), "tftp"), t.TempDir()
		must(t, os.Symlink(real, dir))
		mustInstall(t, dir, live, ModeDir, treeA, Options{})
		if readAll(t, filepath.Join(real, live, "vmlinuz")) != "kernel A" {
			t.Error("not installed")
		}
	})
}

// A link that appears in a managed directory between the looks leads nowhere.
func TestLinkPlantedInTheTree(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	at := filepath.Join(dir, live)
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	must(t, os.RemoveAll(at+"/efi"))
	must(t, os.Symlink(elsewhere, at+"/efi"))
	r, err := install(dir, live, ModeDir, treeB, Options{})
	if err != nil || len(r.Warnings) != 1 {
		t.Errorf("%+v %v; want a warning that the link is kept aside", r, err)
	}
	if names, _ := os.ReadDir(elsewhere); len(names) > 0 {
		t.Errorf("written through the link: %v", names)
	}
	if readAll(t, at+"/efi/boot/BOOT") != "shim B is longer" {
		t.Error("not repaired")
	}
}

func TestStateDirectoryOfOthersRefused(t *testing.T) {
	for name, plant := range map[string]func(p string) error{
		"symlink":  func(p string) error { return os.Symlink(t.TempDir(), p) },
		"file":     func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"writable": func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chmod(p, 0o777)) },
		"owner":    func(p string) error { return errors.Join(os.Mkdir(p, 0o700), os.Chown(p, 12345, 12345)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := plant(filepath.Join(dir, stateName)); err != nil {
				t.Skip("needs root: ", err)
			}
			before := snapshot(t, filepath.Join(dir, stateName))
			if d, err := Open(context.Background(), dir, Options{}); err == nil {
				d.Close()
				t.Error("accepted")
			}
			if !maps.Equal(before, snapshot(t, filepath.Join(dir, stateName))) {
				t.Error("something changed in it")
			}
		})
	}
}

func TestPlantedNameInStage(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	writeFile(t, victim, "untouched", 0o644)
	d, err := Open(context.Background(), dir, Options{})
	must(t, err)
	defer d.Close()
	s, err := d.Begin(context.Background(), live)
	must(t, err)
	defer s.Discard()
	gen := filepath.Join(dir, stateName, stageName, s.id, stagedGeneration)
	must(t, os.Symlink(victim, gen+"/vmlinuz"))
	must(t, os.Symlink(filepath.Dir(victim), gen+"/efi"))
	if _, err := s.Create("vmlinuz", 3); err == nil {
		t.Error("wrote through a planted link")
	}
	if _, err := s.Create("efi/victim", 3); err == nil {
		t.Error("wrote through a planted directory link")
	}
	if readAll(t, victim) != "untouched" {
		t.Error("the victim changed")
	}
}

func TestAttributesOfDirectoriesAndCopies(t *testing.T) {
	dir := quickDir(t)
	at := filepath.Join(dir, live)
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	writeFile(t, at+"/grub.cfg", "menu", 0o640)
	for _, p := range []string{at, at + "/efi", at + "/grub.cfg"} {
		if err := unix.Setxattr(p, "user.site", []byte("label"), 0); err != nil {
			t.Skip("no extended attributes here: ", err)
		}
	}
	// user::rwx user:1000:r-x group::r-x mask::r-x other::r-x
	acl := []byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255,
		16, 0, 5, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255}
	withACL := unix.Setxattr(at+"/efi", "system.posix_acl_access", acl, 0) == nil
	owner := os.Geteuid() == 0
	if owner {
		must(t, os.Chown(at, 123, 456))
		must(t, os.Chown(at+"/grub.cfg", 123, 456))
	}
	mustInstall(t, dir, live, ModeDir, treeB, linkless(Options{}))
	buf := make([]byte, 100)
	for _, p := range []string{at, at + "/efi", at + "/grub.cfg"} {
		if n, err := unix.Getxattr(p, "user.site", buf); err != nil || string(buf[:n]) != "label" {
			t.Errorf("%s lost its attribute: %v", p, err)
		}
	}
	if n, err := unix.Getxattr(at+"/efi", "system.posix_acl_access", buf); withACL && (err != nil || !bytes.Equal(buf[:n], acl)) {
		t.Errorf("the ACL is gone: %v", err)
	}
	for _, p := range []string{at, at + "/grub.cfg"} {
		var st unix.Stat_t
		must(t, unix.Lstat(p, &st))
		if owner && (st.Uid != 123 || st.Gid != 456) {
			t.Errorf("%s belongs to %d:%d", p, st.Uid, st.Gid)
		}
	}
	if n, err := unix.Getxattr(at+"/vmlinuz", "user.site", buf); err == nil {
		t.Errorf("an image's file has an attribute %q", buf[:n])
	}
}

func TestStrangerThatCannotBeKeptRefuses(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, live)
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	must(t, unix.Mknod(at+"/socket", unix.S_IFSOCK|0o600, 0))
	before := snapshot(t, dir)
	_, err := install(dir, live, ModeDir, treeB, linkless(Options{}))
	var advice interface{ Hint() string }
	if err == nil || !errors.As(err, &advice) {
		t.Errorf("got %v", err)
	}
	if !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
		t.Error("something changed")
	}
}

func TestLinkModeHasNoStrangers(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	writeFile(t, filepath.Join(dir, live, "efi/grub.cfg"), "menu", 0o644)
	before := snapshot(t, dir)
	_, err := install(dir, live, ModeLink, treeB, Options{})
	var refusal *spec.Refusal
	if !errors.As(err, &refusal) || !strings.HasSuffix(refusal.Path, "efi/grub.cfg") {
		t.Errorf("got %v", err)
	}
	if !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
		t.Error("something changed")
	}
}
