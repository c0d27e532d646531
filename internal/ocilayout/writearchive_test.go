package ocilayout

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReplaceArchiveFails: nothing is left of an archive that has no place.
func TestReplaceArchiveFails(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"file", "full/x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func(string) (io.ReadCloser, int64, error) { return io.NopCloser(strings.NewReader("x")), 1, nil }
	for _, dst := range []string{"full", "file/archive"} {
		tmp := filepath.Join(dir, "tmp")
		if err := ReplaceArchive(t.Context(), filepath.Join(dir, dst), tmp, []string{"x"}, open); err == nil {
			t.Errorf("%s was replaced", dst)
		}
		if _, err := os.Lstat(tmp); !isNotExist(err) {
			t.Errorf("%s: the temporary file: %v", dst, err)
		}
	}
}
