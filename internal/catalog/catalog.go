package catalog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/nbpack/nbpack/internal/config"
	"github.com/nbpack/nbpack/internal/transport"
)

// DefaultFile is where the catalogue of a server is.
const DefaultFile = "/etc/nbextract/catalog.yaml"

// Catalog is a whole file.
type Catalog struct {
	config.Place
	// Name tells the trees of several catalogues in one boot directory apart.
	// Empty in the file: its absolute path.
	Name string `yaml:"name"`
	// Prune removes trees that left the catalogue, after Grace (nil: 24 hours),
	// and never when more than PruneShare of the trees (nil: half) left it.
	Prune      bool      `yaml:"prune"`
	PruneShare *Share    `yaml:"prune-share"`
	Grace      *Duration `yaml:"grace"`
	// Concurrency is how many questions are under way at once; nil: 8.
	Concurrency *int `yaml:"concurrency"`
	// Mirrors are places that have a registry's content, too, by "HOST[/PATH]":
	// as HOST[/PATH] with its tags, as a URL its blobs.
	Mirrors map[string][]string `yaml:"mirrors"`
	// MirrorOrder of those with a URL is listed or nearest; empty: listed.
	MirrorOrder string `yaml:"mirror-order"`
	// URLHosts are "host[:port]" where the URLs that an image names may be read.
	URLHosts []string `yaml:"url-hosts"`
	// MetricsFile is where figures about the run are written for a collector.
	MetricsFile string `yaml:"metrics-file"`
	// Menus are the boot menus of each boot directory, FORMAT or FORMAT=PATH, or the
	// one word none; nil: those that it has. MenuTemplates are files, by format.
	Menus         []string          `yaml:"menus"`
	MenuTemplates map[string]string `yaml:"menu-templates"`

	Settings `yaml:",inline"` // for entries that do not say otherwise
	Images   []Image          `yaml:"images"`
}

// Settings may stand at the top of a file and in each entry.
type Settings struct {
	Destination     string            `yaml:"destination"`
	Platforms       []string          `yaml:"platforms"`
	Layout          []string          `yaml:"layout"`
	Live            string            `yaml:"live"`
	Keep            *int              `yaml:"keep"`
	Set             map[string]string `yaml:"set"`
	Chown           string            `yaml:"chown"`
	Chmod           string            `yaml:"chmod"`
	SELinuxLabel    string            `yaml:"selinux-label"`
	TLSVerify       *bool             `yaml:"tls-verify"`
	AllowDowngrade  *bool             `yaml:"allow-downgrade"`
	Key             []string          `yaml:"key"`
	SignaturePolicy string            `yaml:"signature-policy"`
	Signatures      *Signatures       `yaml:"signatures"`
	MaxAge          *Duration         `yaml:"max-age"`
	Hooks           *Hooks            `yaml:"hooks"`
	Menu            *MenuEntry        `yaml:"menu"`
}

// Signatures is what is demanded of signatures besides keys that verify them.
type Signatures struct {
	// Threshold is how many of the keys must have signed; nil: one.
	Threshold *int `yaml:"threshold"`
	// Annotations must be signed, too.
	Annotations map[string]string `yaml:"annotations"`
	// SignedAs are repositories that signatures may name instead.
	SignedAs []string `yaml:"signed-as"`
	// Scope is top, entry or either; empty: top.
	Scope string `yaml:"scope"`
}

// MenuEntry is what boot menus say of an image besides what it says itself.
type MenuEntry struct {
	Title string `yaml:"title"`
	Args  string `yaml:"args"` // of the kernel
}

// Hooks are programs with their arguments, run without a shell.
type Hooks struct {
	PreCommit  []string  `yaml:"pre-commit"`
	PostCommit []string  `yaml:"post-commit"`
	Failed     []string  `yaml:"failed"`
	Timeout    *Duration `yaml:"timeout"`
}

// Image is one item of the list, as written. One of Ref, Repository and Catalog
// is given.
type Image struct {
	config.Place
	Ref        string   `yaml:"ref"`
	Repository string   `yaml:"repository"`
	Catalog    string   `yaml:"catalog"`
	Tags       []string `yaml:"tags"`
	Exclude    []string `yaml:"exclude"`
	Newest     *int     `yaml:"newest"`
	Order      string   `yaml:"order"`
	Settings   `yaml:",inline"`
}

// Kind says what the reference of an entry names.
type Kind string

// The kinds of entries.
const (
	KindImage      Kind = "ref"        // one image
	KindRepository Kind = "repository" // tags, chosen by patterns
	KindIndex      Kind = "catalog"    // an index whose entries are the releases
)

// Entry is an item of the list with everything that holds for it.
type Entry struct {
	config.Place
	Kind      Kind
	Reference transport.Reference // for KindRepository without a tag
	Tags      []string            // patterns; a tag must match one
	Exclude   []string            // and none of these
	Newest    int                 // so many for each pattern; 0: all
	Order     Order               // that "newest" means
	Settings
}

// Destinations lists the boot directories of entries, in their order.
func Destinations(entries []Entry) []string {
	var dirs []string
	for _, e := range entries {
		if dir := filepath.Clean(e.Destination); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Read reads a file and checks all that can be known without asking a
// registry. Errors are of type [config.Errors] (exit code 2), with lines, or
// tell that the file cannot be read.
func Read(file string) (*Catalog, []Entry, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &absentError{err}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the catalogue: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the catalogue: %w", err)
	}
	name, err := filepath.Abs(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read the catalogue: %w", err)
	}
	return Parse(file, name, b)
}

// absentError says that there is no catalogue.
type absentError struct{ err error }

func (e *absentError) Error() string { return "read the catalogue: " + e.err.Error() }
func (e *absentError) Unwrap() error { return e.err }
func (e *absentError) Hint() string  { return "name it with -c; docs/catalog.md says what it holds" }

// Parse is Read for bytes. file is the name for messages, name the one of the
// catalogue where it does not give itself one.
func Parse(file, name string, b []byte) (*Catalog, []Entry, error) {
	c := &Catalog{}
	if err := config.Decode(file, b, c); err != nil {
		return nil, nil, err
	}
	if c.Name == "" {
		c.Name = name
	}
	entries, errs := c.entries()
	return c, entries, errs.Err()
}

// over gives s with what is missing taken from base.
func (s Settings) over(base Settings) Settings {
	s.Destination = or(s.Destination, base.Destination)
	s.Live = or(s.Live, base.Live)
	s.Chown = or(s.Chown, base.Chown)
	s.Chmod = or(s.Chmod, base.Chmod)
	s.SELinuxLabel = or(s.SELinuxLabel, base.SELinuxLabel)
	s.SignaturePolicy = or(s.SignaturePolicy, base.SignaturePolicy)
	s.Signatures = or(s.Signatures, base.Signatures)
	s.Keep = or(s.Keep, base.Keep)
	s.TLSVerify = or(s.TLSVerify, base.TLSVerify)
	s.AllowDowngrade = or(s.AllowDowngrade, base.AllowDowngrade)
	s.MaxAge = or(s.MaxAge, base.MaxAge)
	s.Hooks = or(s.Hooks, base.Hooks)
	s.Menu = or(s.Menu, base.Menu)
	if s.Layout == nil {
		s.Layout = base.Layout
	}
	if s.Platforms == nil {
		s.Platforms = base.Platforms
	}
	if s.Key == nil {
		s.Key = base.Key
	}
	if s.Set == nil {
		s.Set = base.Set
	}
	return s
}

func or[T comparable](v, base T) T {
	var zero T
	if v == zero {
		return base
	}
	return v
}
