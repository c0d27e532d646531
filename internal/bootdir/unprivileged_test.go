//go:build linux

package bootdir

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asUser runs do on a thread of another user. The thread is never given back:
// it ends with its goroutine.
func asUser(t *testing.T, uid int, do func() error) error {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		id := uintptr(uid)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
			result <- errno
			return
		}
		result <- do()
	}()
	return <-result
}

func TestUnprivilegedUser(t *testing.T) {
	const user = 65534
	dir := quickDir(t)
	must(t, os.Chown(dir, user, user))
	at := filepath.Join(dir, live)
	update := func(tr tree) error {
		return asUser(t, user, func() error {
			r, err := install(dir, live, ModeDir, tr, Options{})
			if err == nil && len(r.Warnings) > 0 {
				err = errors.New(strings.Join(r.Warnings, "; "))
			}
			return err
		})
	}
	must(t, update(treeA))
	writeFile(t, at+"/own", "menu", 0o600)
	must(t, os.Chown(at+"/own", user, user))
	must(t, update(treeB))
	if readAll(t, at+"/own") != "menu" {
		t.Error("lost the user's own file")
	}
	// root's file can be neither linked (fs.protected_hardlinks) nor given back to root.
	if b, _ := os.ReadFile("/proc/sys/fs/protected_hardlinks"); !strings.HasPrefix(string(b), "1") {
		t.Skip("fs.protected_hardlinks is off here")
	}
	writeFile(t, at+"/efi/root", "menu", 0o644)
	before := snapshot(t, dir)
	err := update(treeA)
	var advice interface{ Hint() string }
	if !errors.As(err, &advice) {
		t.Errorf("got %v", err)
	}
	if !maps.Equal(before, snapshot(t, dir)) || len(leftovers(t, dir)) > 0 {
		t.Errorf("something changed; left %q", leftovers(t, dir))
	}
	must(t, os.Remove(at+"/efi/root"))
	// A directory that the user may not write is still emptied afterwards.
	must(t, os.MkdirAll(at+"/site/locked", 0o755))
	writeFile(t, at+"/site/locked/f", "x", 0o644)
	for _, p := range []string{"/site", "/site/locked", "/site/locked/f"} {
		must(t, os.Chown(at+p, user, 0)) // the thread still has its group
	}
	must(t, os.Chmod(at+"/site/locked", 0o555))
	must(t, update(treeA))
	if readAll(t, at+"/site/locked/f") != "x" || len(leftovers(t, dir)) > 0 {
		t.Errorf("left %q", leftovers(t, dir))
	}
	if st, err := os.Stat(at + "/site/locked"); err != nil || st.Mode().Perm() != 0o555 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}
