package catalogrun

import (
	"context"
	"slices"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
)

// Menus gives the menus that a catalogue asks for; nil: it does not say. The
// error has a line, or tells of a template that cannot be read.
func Menus(c *catalog.Catalog) ([]extract.Menu, error) {
	if c.Menus == nil && c.MenuTemplates == nil {
		return nil, nil
	}
	menus, err := extract.ParseMenus(c.Menus, c.MenuTemplates)
	if err != nil {
		return nil, c.At("menus").Errorf("%v", err)
	}
	return menus, nil
}

func menuEntryOf(e *catalog.MenuEntry) *bootdir.MenuEntry {
	if e == nil {
		return nil
	}
	return &bootdir.MenuEntry{Title: e.Title, Args: e.Args}
}

// writeMenus makes the menus say what the trees are after a run over a catalogue. A
// menu that cannot be written is a failure of the directory, not of its trees.
func (s *dirRun) writeMenus(ctx context.Context) error {
	if err := s.menusWithout(); err != nil {
		s.fail(ctx, nil, err)
	}
	return nil
}

// menusWithout writes the menus without the trees that are about to go, and reports
// each file that it changes once.
func (s *dirRun) menusWithout(going ...string) error {
	var trees []extract.TreeReport
	if len(going) == 0 { // once in a run
		for _, t := range s.report.Trees {
			if t.Destination == s.dir {
				trees = append(trees, t.TreeReport)
			}
		}
	}
	changed, err := s.session.WriteMenus(trees, going...)
	for _, file := range changed {
		if m := (Menu{s.dir, file}); !slices.Contains(s.report.Menus, m) {
			s.report.Menus = append(s.report.Menus, m)
		}
	}
	return err
}
