package ocilayout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestLock takes the lock of a layout that is not there yet: its directory stays only
// if something came into it.
func TestLock(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "a", "layout")
	for _, filled := range []bool{false, true} {
		l, err := Acquire(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		if !l.Made() || !l.Valid() {
			t.Errorf("made %v, valid %v", l.Made(), l.Valid())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Acquire(ctx, dir); !errors.Is(err, context.Canceled) {
			t.Errorf("a second time: %v", err)
		}
		if filled {
			if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		l.Release()
		if _, err := os.Lstat(filepath.Join(top, "a")); isNotExist(err) == filled {
			t.Errorf("filled %v: %v", filled, err)
		}
	}
	l, err := Acquire(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if l.Made() {
		t.Error("it was there before")
	}
	if err := errors.Join(os.Rename(dir, dir+"2"), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if l.Valid() {
		t.Error("valid for another directory")
	}
}
