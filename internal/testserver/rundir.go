package testserver

import (
	"os"
	"testing"
)

// ShortDir makes a directory with a path of few bytes, which is removed with the
// test, as podman wants for its --runroot: 50 at most, whatever TMPDIR is.
func ShortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
