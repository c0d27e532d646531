package extract

import (
	"time"

	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/transport/blobmirror"
)

// Options say where and how boot trees are laid out. The zero value of every
// field but Dir is a usable default.
type Options struct {
	// Dir is the boot directory; it is created when missing.
	Dir string
	// Platforms are platform names as spec.ParsePlatform takes them, or the
	// single word "all". Empty means the only candidate of each image.
	Platforms []string
	// Lenient passes over the platforms that an image lacks, unless it has none of them.
	Lenient bool
	// Layouts are presets or templates as layout.Parse takes them. Each image is laid
	// out in all of them. Empty means "default".
	Layouts []string
	// Set overrides netboot labels for the layout: "os.name" → "fedora".
	Set map[string]string
	// Live says what stands at a live path: a directory or a link to a
	// generation. Empty means what is there already, else a directory.
	Live bootdir.LiveMode
	// Attributes are owner, modes and label of what is laid out. What they leave open
	// is as it was for a tree that is there, else as usual; nil leaves all open.
	Attributes *bootdir.Attributes
	// Keep is the number of generations to keep for each tree, the live one
	// included; 0 means bootdir.DefaultKeep.
	Keep int
	// DryRun reports what would be done and changes nothing.
	DryRun bool
	// Checksum judges managed files by content instead of by size, times and
	// inode number.
	Checksum bool
	// AllowDowngrade accepts an image older than the installed one.
	AllowDowngrade bool
	// AllowGap accepts a moment without a live path where the filesystem
	// cannot exchange a directory with a link.
	AllowGap bool
	// Catalog names the catalogue that asks for the trees, and Release the entry
	// of a catalog index; both are recorded. Empty for a pull.
	Catalog, Release string
	// Menus are the boot menus that the boot directory is to have from now on; nil
	// means those that it has. See ParseMenus.
	Menus []Menu
	// MenuEntry is what menus say of the trees of this run; nil means what they said
	// before.
	MenuEntry *bootdir.MenuEntry
	// Trust is what is demanded of signatures; nil for nothing.
	Trust *Trust
	// Hooks are told what happens; nil for none.
	Hooks Hooks
	// MirrorHealth is that of the client, to be remembered in the boot directory;
	// nil: nothing is.
	MirrorHealth *blobmirror.Health
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes lines for the operator, such as warnings; nil drops them.
	Log func(format string, args ...any)
	// Warn takes lines about what went wrong although the work was done; nil
	// drops them.
	Warn func(format string, args ...any)
	// Progress is told of the bytes of long transfers; nil drops them.
	Progress transport.Progress
}

func (o Options) logf(format string, args ...any) {
	if o.Log != nil {
		o.Log(format, args...)
	}
}

func (o Options) warnf(format string, args ...any) {
	if o.Warn != nil {
		o.Warn(format, args...)
	}
}

func (o Options) bootdir() bootdir.Options {
	return bootdir.Options{Keep: o.Keep, AllowGap: o.AllowGap, Now: o.Now, Log: o.logf}
}
