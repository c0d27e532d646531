package extract

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/extract/layout"
	"github.com/nbpack/nbpack/extract/menu"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// Menu is one boot menu of a boot directory.
type Menu struct {
	Format   menu.Format `json:"format"`
	Path     string      `json:"path"`               // below the boot directory
	Template string      `json:"template,omitempty"` // text; empty: that of the format
}

const menusNote = "menus.json"

// menuSettings is what a boot directory remembers of its menus, so that every run
// keeps them right.
type menuSettings struct {
	Menus []Menu `json:"menus"`
}

// menuWords are what may be written where menus are named.
const menuWords = "there are grub, pxelinux and ipxe, each FORMAT or FORMAT=PATH, and none alone"

// ParseMenus reads what menus are wanted: "FORMAT" or "FORMAT=PATH" each, or the one
// word "none". templates are files, by format. The result is never nil. Errors tell of
// wrong usage, or of a file that cannot be read.
func ParseMenus(wanted []string, templates map[string]string) ([]Menu, error) {
	if len(wanted) == 0 && len(templates) == 0 {
		return nil, &usageError{msg: "no menu is named", hint: menuWords}
	}
	menus := []Menu{}
	for _, w := range wanted {
		if w == "none" && len(wanted) == 1 {
			break
		}
		name, at, given := strings.Cut(w, "=")
		f := menu.Format(name)
		if !slices.Contains(menu.Formats(), f) {
			return nil, &usageError{msg: fmt.Sprintf("no menu for %q", name), hint: menuWords}
		}
		if !given {
			at = f.DefaultPath()
		}
		if err := spec.CheckPath(at); err != nil {
			return nil, &usageError{msg: fmt.Sprintf("the path of the menu for %s: %v", f, err)}
		}
		if slices.ContainsFunc(menus, func(m Menu) bool { return m.Format == f || m.Path == at }) {
			return nil, &usageError{msg: fmt.Sprintf("two menus for %s, or at %q", f, at)}
		}
		menus = append(menus, Menu{Format: f, Path: at})
	}
	for _, name := range slices.Sorted(maps.Keys(templates)) {
		i := slices.IndexFunc(menus, func(m Menu) bool { return m.Format == menu.Format(name) })
		if i < 0 {
			return nil, &usageError{msg: fmt.Sprintf("a template for %q, but no menu for it", name)}
		}
		text, err := readTemplate(templates[name])
		if err != nil {
			return nil, err
		}
		if err := menus[i].Format.CheckTemplate(text); err != nil {
			return nil, &usageError{msg: err.Error(), hint: "docs/menus.md says what a template has"}
		}
		menus[i].Template = text
	}
	return menus, nil
}

func readTemplate(file string) (string, error) {
	const most = 1 << 20
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the template of a menu: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && (len(b) > most || len(b) == 0) {
		err = fmt.Errorf("%q is empty, or longer than a mebibyte", file)
	}
	if err != nil {
		return "", fmt.Errorf("read the template of a menu: %w", err)
	}
	return string(b), nil
}

// CheckMenuEntry refuses texts that no menu could have.
func CheckMenuEntry(e *bootdir.MenuEntry) error {
	if e == nil {
		return nil
	}
	for _, s := range []string{e.Title, e.Args} {
		if err := menu.CheckText(s); err != nil {
			return &usageError{msg: fmt.Sprintf("menu entry: %v", err)}
		}
	}
	return nil
}

// menuEntry is what menus are to say of a tree, which is nil for a first install.
func (p *Placement) menuEntry(cur *bootdir.Tree) *bootdir.MenuEntry {
	if p.opts.MenuEntry == nil && cur != nil {
		return cur.Menu
	}
	return p.opts.MenuEntry
}

func sameMenuEntry(a, b *bootdir.MenuEntry) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// wantedMenus gives the menus that the options ask for, else those of the directory.
func (s *Session) wantedMenus() ([]Menu, error) {
	if s.opts.Menus != nil {
		return s.opts.Menus, nil
	}
	var was menuSettings
	_, err := s.dir.Note(menusNote, &was)
	return was.Menus, err
}

// checkMenus refuses, before trees change, menus that could not be written then. It looks
// at the trees that are to come, or without any at those recorded, not at both: the
// others are in the menus already, and a run would render all of them for each commit.
func (s *Session) checkMenus(coming []*bootdir.Tree, img *bootdir.Image) error {
	menus, err := s.wantedMenus()
	if err != nil || len(menus) == 0 {
		return err
	}
	var trees []bootdir.Tree
	for _, t := range coming {
		trees = append(trees, *t)
	}
	if coming == nil {
		if trees, err = s.dir.Trees(); err != nil {
			return err
		}
	}
	m := &menuMaker{menus: menus, image: func(digest string) (*bootdir.Image, error) {
		if img != nil && img.Digest == digest {
			return img, nil
		}
		return s.dir.Image(digest)
	}}
	files, err := m.make(trees)
	if err != nil {
		return err
	}
	return s.dir.CheckGenerated(files)
}

// WriteMenus makes the menus say what the trees are now, but for those whose live paths are
// going. It gives the paths of the files that it wrote or removed, also beside an error. What
// the menus leave out is told of the trees that changed in this run, by their reports, or when
// a file changes. A dry run writes nothing.
func (s *Session) WriteMenus(reports []TreeReport, going ...string) (changed []string, err error) {
	menus, err := s.wantedMenus()
	if err != nil || menus == nil || s.opts.DryRun {
		return nil, err
	}
	trees, err := s.dir.Trees()
	if err != nil {
		return nil, err
	}
	trees = slices.DeleteFunc(trees, func(t bootdir.Tree) bool { return slices.Contains(going, t.Live) })
	m := &menuMaker{menus: menus, image: s.dir.Image}
	files, err := m.make(trees)
	if err != nil {
		return nil, err
	}
	if err := s.rememberMenus(menus); err != nil {
		return nil, err
	}
	changed, err = s.dir.Generate(files)
	for _, n := range m.notes {
		if len(changed) > 0 || slices.ContainsFunc(reports, func(t TreeReport) bool { return t.Path == n.live && t.Changed }) {
			s.opts.logf("menu: %s", n.text)
		}
	}
	for _, name := range changed {
		done := "removed"
		if slices.ContainsFunc(files, func(f bootdir.Generated) bool { return f.Path == name }) {
			done = "written"
		}
		s.opts.logf("menu %q %s", name, done)
	}
	if err != nil {
		return changed, fmt.Errorf("write the boot menus: %w", err)
	}
	return changed, nil
}

// rememberMenus notes the settings where they are others than before.
func (s *Session) rememberMenus(menus []Menu) error {
	var was menuSettings
	found, err := s.dir.Note(menusNote, &was)
	if err != nil || s.opts.Menus == nil || found && slices.Equal(was.Menus, menus) || !found && len(menus) == 0 {
		return err
	}
	return s.dir.SetNote(menusNote, menuSettings{menus})
}

// menuMaker makes the files of menus.
type menuMaker struct {
	menus []Menu
	image func(digest string) (*bootdir.Image, error)
	notes []menuNote // what is in no menu, and why
}

type menuNote struct{ live, text string }

func (m *menuMaker) note(live, format string, a ...any) {
	m.notes = append(m.notes, menuNote{live, fmt.Sprintf(format, a...)})
}

// bootable is an entry with its image.
type bootable struct {
	menu.Entry
	img *bootdir.Image
}

func (m *menuMaker) make(trees []bootdir.Tree) ([]bootdir.Generated, error) {
	if len(m.menus) == 0 {
		return nil, nil
	}
	list, err := m.bootables(trees)
	if err != nil {
		return nil, err
	}
	var entries []menu.Entry
	for _, b := range list {
		entries = append(entries, b.Entry)
	}
	menu.Sort(entries)
	var files []bootdir.Generated
	for _, w := range m.menus {
		content, left, err := w.Format.Render(w.Template, menu.Menu{Path: w.Path, Entries: entries})
		if err != nil {
			return nil, err
		}
		for _, title := range slices.Sorted(maps.Keys(left)) {
			i := slices.IndexFunc(entries, func(e menu.Entry) bool { return e.Title == title })
			m.note(entries[i].Live, "%q is not in the one for %s: %v", title, w.Format, left[title])
		}
		files = append(files, bootdir.Generated{Path: w.Path, Content: content})
		if w.Path == w.Format.DefaultPath() {
			files = append(files, m.helpers(w, entries, list)...)
		}
	}
	slices.SortStableFunc(files, func(a, b bootdir.Generated) int { return strings.Compare(a.Path, b.Path) })
	return slices.CompactFunc(files, func(a, b bootdir.Generated) bool { return a.Path == b.Path }), nil
}

// helpers are what a machine needs besides to come to a menu at its usual place: for
// grub a configuration where a signed one looks for it, for pxelinux itself.
func (m *menuMaker) helpers(w Menu, entries []menu.Entry, list []bootable) []bootdir.Generated {
	var files []bootdir.Generated
	for _, e := range entries {
		i := slices.IndexFunc(list, func(b bootable) bool { return b.Digest == e.Digest })
		img := list[i].img
		switch w.Format {
		case menu.Grub:
			for _, route := range menu.Routes(img.Entries) {
				files = append(files, bootdir.Generated{Path: route, Content: menu.Route(w.Path), Yield: true})
			}
		case menu.PXELinux:
			loaders := menu.Loaders(img.Entries, img.Labels[spec.LabelLegacyEntrypoint])
			for _, name := range slices.Sorted(maps.Keys(loaders)) {
				files = append(files, bootdir.Generated{Path: name, Target: path.Join(e.Dir, loaders[name]), Yield: true})
			}
			if len(files) > 0 {
				return files // of one image, so that they fit together
			}
		}
	}
	return files
}

// bootables lists the images of the trees that a menu can start, each once.
func (m *menuMaker) bootables(trees []bootdir.Tree) ([]bootable, error) {
	slices.SortFunc(trees, func(a, b bootdir.Tree) int { return strings.Compare(a.Live, b.Live) })
	var list []bootable
	for i := range trees {
		t := &trees[i]
		img, err := m.image(t.Digest)
		if err != nil {
			return nil, err
		}
		if img == nil {
			continue
		}
		b, err := m.bootable(t, img)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(list, func(o bootable) bool { return o.Digest == t.Digest })
		switch {
		case b == nil:
			m.note(t.Live, "%q is in none, because it is not clear which of its files is the kernel", t.Live)
		case b.Arch == "":
			m.note(t.Live, "%q is in none, because neither its platform %q nor its label %s tells its architecture", t.Live, t.Platform, spec.LabelOSArch)
		case at < 0:
			list = append(list, *b)
		case t.Menu != nil && list[at].Args == "":
			list[at] = *b
		}
	}
	return list, nil
}

func (m *menuMaker) bootable(t *bootdir.Tree, img *bootdir.Image) (*bootable, error) {
	kernel, initrd := layout.BootFiles(img.Entries)
	if kernel == "" {
		return nil, nil
	}
	labels, err := layout.WithSet(img.Labels, t.Set)
	if err != nil {
		return nil, err
	}
	dir := path.Join("by-digest", digest.Digest(t.Digest).Encoded())
	e := menu.Entry{OS: labels[spec.LabelOSName], Version: labels[spec.LabelOSVersion], Live: t.Live, Digest: t.Digest,
		Dir: dir, Kernel: path.Join(dir, kernel)}
	if initrd != "" {
		e.Initrd = path.Join(dir, initrd)
	}
	for _, name := range []string{t.Platform, labels[spec.LabelOSArch]} {
		if p, err := spec.ParsePlatform(name); err == nil && e.Arch == "" {
			e.Arch = p.Arch()
		}
	}
	e.Title = strings.TrimSpace(e.OS + " " + e.Version)
	if e.Title == "" {
		e.Title = t.Live
	}
	if e.Arch != "" {
		e.Title += " (" + e.Arch + ")"
	}
	if t.Menu != nil {
		e.Args = t.Menu.Args
		if t.Menu.Title != "" {
			e.Title = t.Menu.Title
		}
	}
	return &bootable{e, img}, nil
}
