package extract

import (
	"testing"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/trust"
)

// TestAdoptForgetsPolicy: a pull without demands that finds the same tree under
// another name, or below another index, does not pass on what was accepted.
func TestAdoptForgetsPolicy(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	image := on("amd64", reg.push("a", "", boot{version: "1"}))
	reg.index("a", "one", image)
	pullByHand(t, s.dir, reg, "a:one")
	demands := &Trust{Signatures: &trust.Policy{}}
	edit := func(f func(*bootdir.Tree)) {
		t.Helper()
		d, err := bootdir.Open(t.Context(), s.dir, bootdir.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		tree, err := d.Tree("os/1/amd64")
		if err != nil || tree == nil {
			t.Fatal(err)
		}
		f(tree)
		if err := d.UpdateTree(tree); err != nil {
			t.Fatal(err)
		}
	}
	accept := func(t *bootdir.Tree) { t.Policy = demands.ID() }
	edit(accept)
	pullByHand(t, s.dir, reg, "a:one")
	edit(func(tree *bootdir.Tree) {
		if tree.Policy != demands.ID() {
			t.Error("a pull that found nothing new forgot what was accepted")
		}
	})
	// Another reference, and the same reference with another index.
	reg.index("a", "two", image)
	pullByHand(t, s.dir, reg, "a:two")
	forgot := func(tree *bootdir.Tree) {
		if tree.Policy != "" {
			t.Errorf("%q counts as accepted", tree.Reference)
		}
	}
	edit(forgot)
	edit(accept)
	other := on("arm64", reg.push("a", "", boot{version: "1", arch: "arm64"}))
	reg.index("a", "two", image, other)
	c := reg.host() // the platform must be chosen now
	r := s.must("- {ref: '" + c + "/a:two', platforms: [amd64]}\n")
	if r.Changed != 0 {
		t.Errorf("%+v", r)
	}
	edit(forgot)
}
