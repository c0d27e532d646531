package ocilayout

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestOpenWhileReplaced reads a file while a writer puts one after the other in
// its place, as layouts are edited: a reader always gets one of them, whole.
func TestOpenWhileReplaced(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("whole"), 0o644); err != nil {
			t.Error(err)
		}
	}
	put("index.json")
	f, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
			}
			put("new")
			if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "index.json")); err != nil {
				t.Error(err)
			}
		}
	}()
	defer func() {
		close(done)
		<-stopped
	}()
	for range 2000 {
		r, size, err := f.Open("index.json")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil || string(b) != "whole" || size != 5 {
			t.Fatalf("%d bytes %q, %v", size, b, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
