package extract

import (
	"context"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/catalog"
)

// CatalogMenus gives the menus that a catalogue asks for; nil: it does not say. The
// error has a line, or tells of a template that cannot be read.
func CatalogMenus(c *catalog.Catalog) ([]Menu, error) {
	if c.Menus == nil && c.MenuTemplates == nil {
		return nil, nil
	}
	menus, err := ParseMenus(c.Menus, c.MenuTemplates)
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

// menus is a puller that writes the menus of a boot directory, and does nothing else.
func (s *syncRun) menus() *puller {
	return &puller{dir: s.boot, opts: s.opts.Options, report: &Report{}}
}

// writeMenus makes the menus say what the trees are after a run over a catalogue. A
// menu that cannot be written is a failure of the directory, not of its trees.
func (s *syncRun) writeMenus(ctx context.Context) error {
	p := s.menus()
	if err := p.writeMenus(); err != nil {
		s.fail(ctx, nil, err)
	}
	s.report.Menus = append(s.report.Menus, p.report.Menus...)
	return nil
}
