//go:build linux

package bootdir

import (
	"context"
	"testing"
)

// TestRecordsAreCopies: what a caller does to a record it was given is its own
// affair until it is written.
func TestRecordsAreCopies(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, "os/1", ModeDir, tree{"kernel": "kernel"}, Options{})
	d, err := Open(context.Background(), dir, Options{})
	must(t, err)
	defer d.Close()
	for range 2 {
		got, err := d.Tree("os/1")
		must(t, err)
		if got.Pinned || len(got.History) != 1 || len(got.Files) != 1 || got.Files[0].Path != "kernel" {
			t.Fatalf("%+v", got)
		}
		got.Pinned, got.Files[0].Path, got.History[0].Digest = true, "x", "y"
	}
	got, err := d.Tree("os/1")
	must(t, err)
	got.Pinned = true
	must(t, d.UpdateTree(got))
	all, err := d.Trees()
	must(t, err)
	if len(all) != 1 || !all[0].Pinned {
		t.Errorf("%+v", all)
	}
}
