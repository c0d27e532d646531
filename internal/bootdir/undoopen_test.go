//go:build linux

package bootdir

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestOpenWithoutResultLeavesNothing(t *testing.T) {
	base := t.TempDir()
	for name, test := range map[string]struct {
		open string // the boot directory, below base
		gone string // what must not be there afterwards
		stay string // what must
	}{
		"nothing was there":      {"new/srv/tftp", "new", "."},
		"the directory was":      {"old", "old/.nbextract", "old/site.cfg"},
		"a directory above it":   {"old/sub", "old/sub", "old/site.cfg"},
		"kept files of the site": {"kept", "kept/.nbextract/lock2", "kept/.nbextract/kept/1/x"},
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, filepath.Join(base, "old/site.cfg"), "x", 0o644)
			dir := filepath.Join(base, test.open)
			d, err := Open(context.Background(), dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if s, err := d.Begin(context.Background(), "fedora/40/amd64"); err != nil {
				t.Fatal(err)
			} else {
				s.Discard()
			}
			if test.open == "kept" {
				writeFile(t, filepath.Join(base, test.stay), "x", 0o644)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(filepath.Join(base, test.gone)); err == nil {
				t.Errorf("%q is left", test.gone)
			}
			if _, err := os.Lstat(filepath.Join(base, test.stay)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLockOfADirectoryThatWentAway(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(context.Background(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// A second run has opened the state directory and waits for the lock.
	second := newDir(dir, Options{})
	if err := second.openForWriting(); err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.acquire(); err == nil {
		t.Error("the lock of a state directory that is gone was taken")
	}
}
