//go:build linux

package bootdir

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"
)

// TestHold: what somebody holds is not pruned, and goes when it is let go.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := Options{Keep: 1, Grace: time.Hour, Now: func() time.Time { return clock }}
	old, young := tree{"linux": "old"}, tree{"linux": "new"}
	mustInstall(t, dir, "a", ModeDir, old, o)
	mustInstall(t, dir, "a", ModeDir, young, o)

	view, err := View(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	first, err := view.Hold(old.image().Digest)
	if err != nil {
		t.Fatal(err)
	}
	second, err := view.Hold(old.image().Digest)
	if err != nil {
		t.Fatal(err)
	}

	clock = clock.Add(2 * time.Hour)
	prune := func() []string {
		t.Helper()
		d, err := Open(context.Background(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		gone, err := d.Prune(context.Background(), 1, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return gone
	}
	if gone := prune(); len(gone) != 0 || !view.HasGeneration(old.image().Digest) {
		t.Fatalf("pruned %q, which is held twice", gone)
	}
	first.Close()
	if gone := prune(); len(gone) != 0 {
		t.Fatalf("pruned %q, which is held once", gone)
	}
	second.Close()
	if gone := prune(); len(gone) != 1 || view.HasGeneration(old.image().Digest) {
		t.Fatalf("pruned %q, not what nobody holds any more", gone)
	}
	if _, err := view.Hold(old.image().Digest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hold what is gone: %v", err)
	}
}
