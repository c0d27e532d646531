package extract

import "testing"

// TestSpokePlainHTTP: the records are read when somebody asks, and not before.
func TestSpokePlainHTTP(t *testing.T) {
	reg, dir := newShelf(t), t.TempDir()
	spoke, nowhere := SpokePlainHTTP("", t.TempDir(), dir), SpokePlainHTTP("", t.TempDir())
	reg.push("a", "v1", boot{version: "1"})
	pullByHand(t, dir, reg, "a:v1")
	if !spoke(reg.host()) {
		t.Errorf("%s spoke plain http", reg.host())
	}
	if spoke("registry.example") || nowhere(reg.host()) {
		t.Error("it speaks of registries that no record names")
	}
}
