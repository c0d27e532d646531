package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	failed := errors.New("failed")
	if err := Write(name, func(w io.Writer) error { _, _ = w.Write([]byte("half")); return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that could not be written is there: %v", err)
	}
	if err := WriteFile(name, []byte("whole")); err != nil {
		t.Error(err)
	}
	if err := WriteFile(name, []byte("again")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written over another file: %v", err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "whole" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestRename makes directories on the way, and only keeps them for what arrives.
func TestRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "a/b/to")
	if err := Rename(from, to); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory for nothing is left: %v", err)
	}
	if err := WriteFile(from, nil); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(to); err != nil {
		t.Error(err)
	}
	if err := Rename(to, filepath.Join(to, "x")); err == nil {
		t.Error("moved below a file")
	}
}
