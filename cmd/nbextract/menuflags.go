package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/cli"
)

// menuFlags are about boot menus.
type menuFlags struct {
	menus     []string
	templates []string
	entry     bootdir.MenuEntry
	changed   func(name string) bool
}

func (m *menuFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&m.menus, "menu", nil, "boot menus of DIR from now on: `FORMAT`[=PATH] of grub, pxelinux and ipxe, or none (default: those that it has)")
	f.StringArrayVar(&m.templates, "menu-template", nil, "`FORMAT=FILE` with the template of a menu")
	cli.Keys(cmd, "menu-template", "grub", "pxelinux", "ipxe")
	f.StringVar(&m.entry.Args, "menu-args", "", "`ARGS` for the kernel in menus (default: what was given before)")
	f.StringVar(&m.entry.Title, "menu-title", "", "`TITLE` in menus (default: system, version and architecture)")
	m.changed = f.Changed
	cli.Values(cmd, "menu", "grub", "pxelinux", "ipxe", "none")
}

// parse completes o with the flags that were given.
func (m *menuFlags) parse(o *extract.Options) (err error) {
	templates := map[string]string{}
	for _, t := range m.templates {
		format, file, ok := strings.Cut(t, "=")
		if !ok {
			return cli.Usage("--menu-template wants FORMAT=FILE, not %q", t)
		}
		templates[format] = file
	}
	if m.changed("menu") || len(templates) > 0 {
		if o.Menus, err = extract.ParseMenus(m.menus, templates); err != nil {
			return err
		}
	}
	if m.changed("menu-args") || m.changed("menu-title") {
		o.MenuEntry = &m.entry
	}
	return extract.CheckMenuEntry(o.MenuEntry)
}
