package extract

import (
	"testing"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/internal/trust"
)

// TestAdoptForgetsPolicy: a pull without demands that finds the same tree under
// another name, or below another index, does not pass on what was accepted.
func TestAdoptForgetsPolicy(t *testing.T) {
	reg, dir := testshelf.New(t), t.TempDir()
	image := testshelf.On("amd64", reg.Push("a", "", testshelf.Boot{Version: "1"}))
	reg.Index("a", "one", image)
	pullByHand(t, dir, reg, "a:one")
	demands := &Trust{Signatures: &trust.Policy{}}
	edit := func(f func(*bootdir.Tree)) {
		t.Helper()
		d, err := bootdir.Open(t.Context(), dir, bootdir.Options{})
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
	pullByHand(t, dir, reg, "a:one")
	edit(func(tree *bootdir.Tree) {
		if tree.Policy != demands.ID() {
			t.Error("a pull that found nothing new forgot what was accepted")
		}
	})
	// Another reference, and the same reference with another index.
	reg.Index("a", "two", image)
	pullByHand(t, dir, reg, "a:two")
	forgot := func(tree *bootdir.Tree) {
		if tree.Policy != "" {
			t.Errorf("%q counts as accepted", tree.Reference)
		}
	}
	edit(forgot)
	edit(accept)
	other := testshelf.On("arm64", reg.Push("a", "", testshelf.Boot{Version: "1", Arch: "arm64"}))
	reg.Index("a", "two", image, other)
	r, err := pull(t, dir, reg, "a:two", Options{Platforms: []string{"amd64"}}) // it must be chosen now
	if err != nil || changed(r) != 0 {
		t.Errorf("%v %+v", err, r)
	}
	edit(forgot)
}
