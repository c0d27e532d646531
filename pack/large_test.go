package pack

import (
	"os"
	"path/filepath"
	"runtime/metrics"
	"strconv"
	"testing"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/transport"
)

// TestMemory packs a large sparse file and watches the heap while it is read.
// NBPACK_LARGE_MIB sets its size: 8192 is what the design promises, the default
// is small enough for every run and already far above the bound.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("packs a large file; run without -short")
	}
	size := int64(256)
	if s := os.Getenv("NBPACK_LARGE_MIB"); s != "" {
		var err error
		if size, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "large"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "large"), size<<20); err != nil {
		t.Fatal(err)
	}
	forms := map[string]func(*Options){"file": func(o *Options) {
		o.Format, o.Sources = FormatFile, []string{filepath.Join(dir, "large")}
	}}
	for _, c := range archive.Compressions() {
		if c != archive.None { // would fill the disk, too
			forms[string(c)] = func(o *Options) { o.Compression = c }
		}
	}
	for name, set := range forms {
		t.Run(name, func(t *testing.T) {
			o := amd64(dir)
			if set(&o); o.Format == FormatFile && size > 1024 {
				t.Skip("would fill the disk with the file")
			}
			var peak uint64
			var next int64
			sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
			o.Progress = func(_ string, done, _ int64) {
				if done >= next {
					next = done + 4<<20
					metrics.Read(sample)
					peak = max(peak, sample[0].Value.Uint64())
				}
			}
			plan, err := Scan(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			dst := transport.Reference{Transport: transport.OCI, Name: filepath.Join(t.TempDir(), "out"), Tag: "x"}
			if _, err := Build(t.Context(), newClient(t), plan, dst); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d MiB packed with at most %.1f MiB of heap", size, float64(peak)/(1<<20))
			if peak > 64<<20 {
				t.Errorf("heap grew to %d MiB", peak>>20)
			}
		})
	}
}
