package extract

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestRepairOfOneLayer: what is damaged comes back alone, also where SHA256SUM lies
// in the same layer as the rest, and be it SHA256SUM itself.
func TestRepairOfOneLayer(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, name := range []string{"vmlinuz", "menu", "SHA256SUM"} {
			reg, dir := testshelf.New(t), t.TempDir()
			files := testshelf.Noise(3 << 20)
			files["menu"] = "default"
			reg.Push("a", "v1", testshelf.Boot{Version: "1", Single: single, Chunked: true, Files: files})
			pullByHand(t, dir, reg, "a:v1")
			live := filepath.Join(dir, "os/1/amd64", name)
			good, err := os.ReadFile(live)
			if err != nil {
				t.Fatal(err)
			}
			bad := bytes.Clone(good)
			bad[len(bad)/2] ^= 1
			_ = os.Chmod(live, 0o644)
			if err := os.WriteFile(live, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := pull(t, dir, reg, "a:v1", Options{})
			if err != nil || len(r.Trees) != 1 {
				t.Fatalf("%v, %+v", err, r)
			}
			if n := r.Trees[0].Bytes.Fetched; n > 300<<10 {
				t.Errorf("one layer %v: %d bytes were fetched to repair %q", single, n, name)
			}
			if got, err := os.ReadFile(live); err != nil || !bytes.Equal(got, good) {
				t.Errorf("one layer %v: %q is not repaired: %v", single, name, err)
			}
			if list, err := Verify(t.Context(), dir); err != nil || problems(list) {
				t.Errorf("%v %+v", err, list)
			}
		}
	}
}
