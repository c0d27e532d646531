package extract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/extract/menu"
	"github.com/nbpack/nbpack/internal/bootdir"
)

// TestCheckMenusOfMany: what a commit asks about menus is about its own trees, however
// many others there are.
func TestCheckMenusOfMany(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	const many = 20
	var text strings.Builder
	for i := range many {
		reg.push("a", fmt.Sprint(i), boot{version: fmt.Sprint(i)})
		fmt.Fprintf(&text, "- {ref: '%s/a:%d'}\n", reg.host(), i)
	}
	s.must(text.String())
	dir, err := bootdir.Open(t.Context(), s.dir, bootdir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	p := &puller{dir: dir, report: &Report{}, opts: Options{Menus: []Menu{{Format: menu.Grub, Path: "grub/grub.cfg"}}}}
	cost := func(coming []*bootdir.Tree) float64 {
		return testing.AllocsPerRun(3, func() {
			if err := p.checkMenus(coming, nil); err != nil {
				t.Fatal(err)
			}
		})
	}
	tree, err := dir.Tree("os/1/amd64")
	if err != nil || tree == nil {
		t.Fatal(err)
	}
	if one, all := cost([]*bootdir.Tree{tree}), cost(nil); one > all/3 {
		t.Errorf("%.0f allocations for one tree, %.0f for all %d", one, all, many)
	}
}
