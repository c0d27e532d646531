package extract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/extract/menu"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/testshelf"
	"github.com/nbpack/nbpack/spec"
)

// TestCheckMenusOfMany: what a commit asks about menus is about its own trees, however
// many others there are.
func TestCheckMenusOfMany(t *testing.T) {
	reg, at := testshelf.New(t), t.TempDir()
	const many = 20
	for i := range many {
		reg.Push("a", fmt.Sprint(i), testshelf.Boot{Version: fmt.Sprint(i)})
		pullByHand(t, at, reg, fmt.Sprint("a:", i))
	}
	dir, err := bootdir.Open(t.Context(), at, bootdir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	s := &Session{dir: dir, opts: Options{Menus: []Menu{{Format: menu.Grub, Path: "grub/grub.cfg"}}}}
	cost := func(coming []*bootdir.Tree) float64 {
		return testing.AllocsPerRun(3, func() {
			if err := s.checkMenus(coming, nil); err != nil {
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

// TestMenusLeaveOut: what has no architecture is in no menu.
func TestMenusLeaveOut(t *testing.T) {
	img := &bootdir.Image{Entries: []spec.Entry{{Path: "vmlinuz", Type: spec.TypeFile}}}
	m := &menuMaker{menus: []Menu{{Format: menu.IPXE, Path: "boot.ipxe"}}, image: func(string) (*bootdir.Image, error) { return img, nil }}
	_, err := m.make([]bootdir.Tree{{Live: "a", Digest: "sha256:1"}, {Live: "b", Digest: "sha256:2", Platform: "linux/amd64"}})
	if err != nil || len(m.notes) != 1 || m.notes[0].live != "a" || !strings.Contains(m.notes[0].text, "architecture") {
		t.Errorf("%v %+v", err, m.notes)
	}
}
