//go:build linux

package bootdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// retirer removes the tree at a live path.
func retirer(live string) func(string, Options) error {
	return func(dir string, o Options) error {
		d, err := Open(context.Background(), dir, o)
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Retire(context.Background(), live)
	}
}

// nothingLeft fails where anything but records is below the boot directory.
func nothingLeft(t testing.TB, dir string) {
	names, err := filepath.Glob(filepath.Join(dir, "[^.]*", "*"))
	must(t, err)
	if len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

func TestRetireSparesTheSite(t *testing.T) {
	const live = "os/1"
	for name, add := range map[string]func(at string) error{
		"file":      func(at string) error { return os.WriteFile(filepath.Join(at, "menu"), nil, 0o644) },
		"deep file": func(at string) error { return os.WriteFile(filepath.Join(at, "efi/menu"), nil, 0o644) },
		"directory": func(at string) error { return os.Mkdir(filepath.Join(at, "more"), 0o755) },
		"link":      func(at string) error { return os.Symlink("x", filepath.Join(at, "more")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tr := tree{"efi/shim.efi": "shim", "kernel": "kernel"}
			mustInstall(t, dir, live, ModeDir, tr, Options{})
			must(t, add(filepath.Join(dir, live)))
			before := visible(t, dir, live)
			err := retirer(live)(dir, Options{})
			var occupied *OccupiedError
			if !errors.As(err, &occupied) {
				t.Fatalf("%v", err)
			}
			if after := visible(t, dir, live); len(after) != len(before) {
				t.Errorf("%q became %q", before, after)
			}
		})
	}
}

// TestRetireSparesLateFiles: what comes between the look and the rename is kept.
func TestRetireSparesLateFiles(t *testing.T) {
	const live = "os/1"
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, tree{"efi/shim.efi": "shim", "kernel": "kernel"}, Options{})
	err := retirer(live)(dir, Options{hook: func(op, path string) error {
		if op == "rename-new" {
			return os.WriteFile(filepath.Join(dir, live, "efi/late"), []byte("late"), 0o644)
		}
		return nil
	}})
	must(t, err)
	found, err := filepath.Glob(filepath.Join(dir, stateName, keptName, "*", "*", "efi", "*"))
	must(t, err)
	if len(found) != 1 || filepath.Base(found[0]) != "late" {
		t.Errorf("kept: %q", found)
	}
}

func TestNote(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, "os/1", ModeDir, tree{"kernel": "kernel"}, Options{})
	var got map[string]int
	d, err := Open(context.Background(), dir, Options{})
	must(t, err)
	if found, err := d.Note("sync.json", &got); found || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	must(t, d.SetNote("sync.json", map[string]int{"a": 1}))
	d.Close()
	view, err := View(dir)
	must(t, err)
	defer view.Close()
	if found, err := view.Note("sync.json", &got); !found || err != nil || got["a"] != 1 {
		t.Errorf("found %v, %v: %v", found, err, got)
	}
	if err := view.SetNote("sync.json", got); err == nil {
		t.Error("a note was written without the lock")
	}
}

// TestKeepOfATree: a tree's own number of generations overrules the run's.
func TestKeepOfATree(t *testing.T) {
	trees := []Tree{{Live: "a", Keep: 1, History: []Generation{{Digest: "1"}, {Digest: "2"}}},
		{Live: "b", History: []Generation{{Digest: "3"}, {Digest: "4"}}}}
	needed, dropped := newDir("x", Options{}).divide(trees, 2, 1)
	if needed["2"] || len(dropped) != 1 || !needed["4"] {
		t.Errorf("%v, %q", needed, dropped)
	}
}

// TestRetireAfterCutAndReturn: what a removal that was cut off has left is no
// obstacle when the tree has come back, with other files, and goes again.
func TestRetireAfterCutAndReturn(t *testing.T) {
	const live = "os/1"
	for name, mode := range map[string]LiveMode{"dir": ModeDir, "link": ModeLink} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustInstall(t, dir, live, mode, tree{"efi/shim.efi": "shim", "old": "kernel"}, Options{})
			cut := errors.New("cut")
			moved := false
			err := retirer(live)(dir, Options{hook: func(op, path string) error {
				if moved {
					return cut
				}
				moved = op == "rename-new"
				return nil
			}})
			if !errors.Is(err, cut) {
				t.Fatal(err)
			}
			mustInstall(t, dir, live, mode, tree{"new": "kernel 2"}, Options{})
			mustInstall(t, dir, live, mode, tree{"newer": "kernel 3"}, Options{})
			must(t, retirer(live)(dir, Options{}))
			nothingLeft(t, dir)
			if _, err := os.Stat(filepath.Join(dir, stateName, keptName)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("something is kept: %v", err)
			}
		})
	}
}

// TestRetireTwice: what came late stays where it was put, also when the tree comes
// back with a file of that name and goes again.
func TestRetireTwice(t *testing.T) {
	const live = "os/1"
	dir := t.TempDir()
	late := Options{hook: func(op, path string) error {
		if op == "rename-new" {
			at := filepath.Join(dir, live, "late")
			if _, err := os.Stat(filepath.Dir(at)); err == nil {
				_ = os.WriteFile(at, []byte("late"), 0o644)
			}
		}
		return nil
	}}
	mustInstall(t, dir, live, ModeDir, tree{"kernel": "kernel"}, Options{})
	must(t, retirer(live)(dir, late))
	mustInstall(t, dir, live, ModeDir, tree{"late": "kernel 2", "more": "more"}, Options{})
	must(t, retirer(live)(dir, Options{}))
	mustInstall(t, dir, live, ModeDir, tree{"kernel": "kernel"}, Options{})
	must(t, retirer(live)(dir, late))
	found, err := filepath.Glob(filepath.Join(dir, stateName, keptName, "*", "*", "late"))
	must(t, err)
	if len(found) != 2 {
		t.Errorf("kept: %q", found)
	}
}
