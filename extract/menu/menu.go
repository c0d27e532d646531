package menu

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/nbpack/nbpack/spec"
)

// Format is a program that shows menus.
type Format string

// The formats.
const (
	Grub     Format = "grub"
	PXELinux Format = "pxelinux"
	IPXE     Format = "ipxe"
)

// Formats lists them.
func Formats() []Format { return []Format{Grub, PXELinux, IPXE} }

// DefaultPath is where a program looks for its menu, below the boot directory.
func (f Format) DefaultPath() string {
	return map[Format]string{Grub: "grub/grub.cfg", PXELinux: "pxelinux.cfg/default", IPXE: "boot.ipxe"}[f]
}

// Entry is one image to boot. Paths are below the boot directory.
type Entry struct {
	ID      string // a word that no other entry has
	Title   string
	OS      string // name and version, as the labels say
	Version string
	Arch    string // as OCI spells it
	Live    string // path of the tree
	Digest  string // of the manifest
	Dir     string // of the generation, which stays what it is
	Kernel  string
	Initrd  string // empty: none
	Args    string // for the kernel
}

// Sort puts entries into the order of a menu, by system, the newest version first, and
// gives each its ID.
func Sort(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.OS, b.OS), natural(b.Version, a.Version), strings.Compare(a.Arch, b.Arch), strings.Compare(a.Live, b.Live))
	})
	seen := map[string]int{}
	for i := range entries {
		e := &entries[i]
		id := word(strings.Join(slices.DeleteFunc([]string{e.OS, e.Version, e.Arch}, func(s string) bool { return s == "" }), "-"))
		if id == "" {
			id = word(e.Live)
		}
		if seen[id]++; seen[id] > 1 {
			id += "-" + strconv.Itoa(seen[id])
		}
		e.ID = id
	}
}

var notWord = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// word makes a label of any text.
func word(s string) string { return strings.Trim(notWord.ReplaceAllString(s, "-"), "-") }

var number = regexp.MustCompile(`\d+|\D+`)

// natural compares as people do: digits as numbers.
func natural(a, b string) int {
	x, y := number.FindAllString(a, -1), number.FindAllString(b, -1)
	for i := range min(len(x), len(y)) {
		m, errM := strconv.ParseUint(x[i], 10, 64)
		n, errN := strconv.ParseUint(y[i], 10, 64)
		c := strings.Compare(x[i], y[i])
		if errM == nil && errN == nil {
			c = cmp.Compare(m, n)
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// Menu is what a template gets.
type Menu struct {
	Path    string // of the menu, below the boot directory
	Entries []Entry
}

// CheckTemplate refuses a template that cannot be read, or that makes no menu of one
// image or of none, as in a directory that has no tree yet.
func (f Format) CheckTemplate(text string) error {
	one := Entry{ID: "os-1-amd64", Title: "OS 1", OS: "os", Version: "1", Arch: "amd64", Live: "os/1/amd64",
		Digest: "sha256:" + strings.Repeat("0", 64), Dir: "by-digest/" + strings.Repeat("0", 64), Args: "quiet"}
	one.Kernel, one.Initrd = one.Dir+"/vmlinuz", one.Dir+"/initrd.img"
	for _, entries := range [][]Entry{nil, {one}} {
		if _, _, err := f.Render(text, Menu{Path: f.DefaultPath(), Entries: entries}); err != nil {
			return err
		}
	}
	return nil
}

// parse reads a template; the empty text is the one of the format. The functions of
// templates are quote (for the format), rooted (a path as the format names files), line
// (one line of text), args (arguments, each behind a space) and arch (how the format asks
// for an architecture).
func (f Format) parse(text, at string) (*template.Template, error) {
	if text == "" {
		text = f.standard()
	}
	t, err := template.New(string(f)).Option("missingkey=error").Funcs(template.FuncMap{
		"quote": f.quote, "rooted": func(p string) string { return f.rooted(p, at) }, "line": line, "arch": f.arch, "args": f.args,
	}).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the template of the menu for %s: %w", f, err)
	}
	return t, nil
}

// Render writes a menu. Entries that the format cannot have are left out; the reasons
// are given by their titles.
func (f Format) Render(text string, m Menu) (content []byte, left map[string]error, err error) {
	t, err := f.parse(text, m.Path)
	if err != nil {
		return nil, nil, err
	}
	left = map[string]error{}
	fit := Menu{Path: m.Path}
	for _, e := range m.Entries {
		if why := f.fits(&e); why != nil {
			left[e.Title] = why
			continue
		}
		e.Args = strings.Join(strings.Fields(e.Args), " ")
		if f.arch(e.Arch) != "" {
			fit.Entries = append(fit.Entries, e)
		}
	}
	var out bytes.Buffer
	if err := t.Execute(&out, fit); err != nil {
		return nil, nil, fmt.Errorf("the menu for %s: %w", f, err)
	}
	return out.Bytes(), left, nil
}

// CheckText refuses a title or arguments that would not be one line.
func CheckText(s string) error {
	const most = 2000 // less than any of the programs takes
	if len(s) > most || line(s) != s {
		return fmt.Errorf("%q is not one line of at most %d bytes", s, most)
	}
	return nil
}

// baked are the paths of configurations that loaders were built with.
var baked = regexp.MustCompile(`^debian-installer/[a-z0-9]+/grub/grub\.cfg$`)

// Routes lists the paths, below the boot directory, at which the grub of an image with
// these entries asks for its configuration. The prefix is baked into a signed grub: that of
// Debian's installer asks below the root of the server where its package has a configuration.
// Other places are not taken from an image, which would choose what lies beside the trees.
func Routes(entries []spec.Entry) []string {
	var routes []string
	for _, e := range entries {
		if e.Type == spec.TypeFile && baked.MatchString(e.Path) {
			routes = append(routes, e.Path)
		}
	}
	return routes
}

// Route is a configuration of grub that leads to the menu at p.
func Route(p string) []byte {
	return fmt.Appendf(nil, "# Written by nbextract.\nconfigfile %s\n", Grub.quote("/"+p))
}

// Loaders lists the files of an image that pxelinux loads from beside itself, by name.
func Loaders(entries []spec.Entry, legacy string) map[string]string {
	found := map[string]string{}
	if legacy == "" {
		return found
	}
	for _, e := range entries {
		if base := path.Base(e.Path); e.Type == spec.TypeFile && base == "ldlinux.c32" && (found[base] == "" || path.Dir(e.Path) == path.Dir(legacy)) {
			found[base] = e.Path
		}
	}
	found["pxelinux.0"] = legacy
	return found
}
