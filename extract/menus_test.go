package extract

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/extract/menu"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
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

// TestMenusLeaveOut: what is in no menu is told with the run that brings it, and not
// with each later one.
func TestMenusLeaveOut(t *testing.T) {
	reg, s := newShelf(t), newSyncer(t)
	var log []string
	s.opts.Log = func(format string, a ...any) { log = append(log, fmt.Sprintf(format, a...)) }
	const menus = "menus: [ipxe]\n"
	reg.push("a", "v", boot{version: "1"})
	first := "- {ref: '" + reg.host() + "/a:v'}\n"
	s.must(first + menus)
	reg.push("b", "v", boot{version: "2", files: map[string]string{"what": "is this?"}})
	for run, want := range []int{1, 0} {
		log = nil
		s.must(first + "- {ref: '" + reg.host() + "/b:v'}\n" + menus)
		told := 0
		for _, line := range log {
			if strings.Contains(line, `"os/2/amd64" is in none, because it is not clear`) {
				told++
			}
		}
		if told != want {
			t.Errorf("run %d: %q", run, log)
		}
	}
	img := &bootdir.Image{Entries: []spec.Entry{{Path: "vmlinuz", Type: spec.TypeFile}}}
	m := &menuMaker{menus: []Menu{{Format: menu.IPXE, Path: "boot.ipxe"}}, image: func(string) (*bootdir.Image, error) { return img, nil }}
	_, err := m.make([]bootdir.Tree{{Live: "a", Digest: "sha256:1"}, {Live: "b", Digest: "sha256:2", Platform: "linux/amd64"}})
	if err != nil || len(m.notes) != 1 || m.notes[0].live != "a" || !strings.Contains(m.notes[0].text, "architecture") {
		t.Errorf("%v %+v", err, m.notes)
	}
}
