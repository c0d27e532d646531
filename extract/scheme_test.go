package extract

import (
	"testing"

	"github.com/nbpack/nbpack/internal/testshelf"
)

// TestSpokePlainHTTP: the records are read when somebody asks, and not before.
func TestSpokePlainHTTP(t *testing.T) {
	reg, dir := testshelf.New(t), t.TempDir()
	spoke, nowhere := SpokePlainHTTP("", t.TempDir(), dir), SpokePlainHTTP("", t.TempDir())
	reg.Push("a", "v1", testshelf.Boot{Version: "1"})
	pullByHand(t, dir, reg, "a:v1")
	if !spoke(reg.Host()) {
		t.Errorf("%s spoke plain http", reg.Host())
	}
	if spoke("registry.example") || nowhere(reg.Host()) {
		t.Error("it speaks of registries that no record names")
	}
}
