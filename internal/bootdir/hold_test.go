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

// TestHoldAgainstRemoval: a tree that machines boot from is not removed, nor is
// what it shares with another tree looked at.
func TestHoldAgainstRemoval(t *testing.T) {
	dir := t.TempDir()
	old, young, shared := tree{"linux": "old"}, tree{"linux": "new"}, tree{"linux": "shared"}
	mustInstall(t, dir, "a", ModeDir, old, Options{})
	mustInstall(t, dir, "a", ModeDir, shared, Options{})
	mustInstall(t, dir, "a", ModeDir, young, Options{})
	mustInstall(t, dir, "b", ModeDir, shared, Options{})
	view, err := View(dir)
	must(t, err)
	defer view.Close()
	elsewhere, err := view.Hold(shared.image().Digest)
	must(t, err)
	defer elsewhere.Close()
	for _, held := range []tree{old, young} {
		hold, err := view.Hold(held.image().Digest)
		must(t, err)
		before := visible(t, dir, "a")
		err = retirer("a")(dir, Options{})
		var refused *HeldError
		if !errors.As(err, &refused) || refused.Digest != held.image().Digest || refused.Live != "a" {
			t.Errorf("%v", err)
		}
		if after := visible(t, dir, "a"); len(after) != len(before) || !view.HasGeneration(held.image().Digest) {
			t.Errorf("%q became %q", before, after)
		}
		must(t, hold.Close())
	}
	must(t, retirer("a")(dir, Options{}))
	if view.HasGeneration(old.image().Digest) || view.HasGeneration(young.image().Digest) || !view.HasGeneration(shared.image().Digest) {
		t.Error("not what the tree alone had is gone")
	}
}

// TestPruneCorrectsTimes: a generation that was superseded under a clock years ahead
// does not stay for years.
func TestPruneCorrectsTimes(t *testing.T) {
	dir := t.TempDir()
	clock := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	o := Options{Keep: 1, Now: func() time.Time { return clock }}
	mustInstall(t, dir, "a", ModeDir, tree{"linux": "old"}, o)
	mustInstall(t, dir, "a", ModeDir, tree{"linux": "new"}, o)
	clock = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, want := range []int{0, 1} {
		d, err := Open(context.Background(), dir, o)
		must(t, err)
		gone, err := d.Prune(context.Background(), 1, DefaultGrace)
		if err != nil || len(gone) != want {
			t.Errorf("%s: pruned %q, %v", clock, gone, err)
		}
		must(t, d.Close())
		clock = clock.Add(DefaultGrace)
	}
}
