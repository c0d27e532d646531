package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/archive"
	"github.com/nbpack/nbpack/internal/config"
	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
)

// Recipe says how all platforms of a release are packed, as docs/recipe.md
// describes it. Its keys mean what the flags of "nbpack build" mean that have
// these names.
type Recipe struct {
	config.Place `yaml:"-"`

	// Variables are what ${NAME} in values stands for, unless somebody sets them.
	Variables map[string]string `yaml:"variables"`
	// Image is the index that all platforms are put into.
	Image           string          `yaml:"image"`
	OSName          string          `yaml:"os-name"`
	OSVersion       string          `yaml:"os-version"`
	Format          string          `yaml:"format"`
	Layers          string          `yaml:"layers"`
	Compression     string          `yaml:"compression"`
	RequireVerified bool            `yaml:"require-verified"`
	VersionFile     *bool           `yaml:"version-file"`
	Common          recipeSettings  `yaml:",inline"`
	Platforms       []recipeVariant `yaml:"platforms"`

	file string
	self inputFile
	dir  string // that paths are relative to
}

// recipeSettings may stand at the top, for all platforms, and in a platform.
// Lists of a platform follow those of all, other values replace them.
type recipeSettings struct {
	Sources          []recipeSource    `yaml:"sources"`
	Include          []string          `yaml:"include"`
	Exclude          []string          `yaml:"exclude"`
	Rename           map[string]string `yaml:"rename"`
	Flatten          *bool             `yaml:"flatten"`
	Entrypoint       string            `yaml:"entrypoint"`
	AltEntrypoint    string            `yaml:"alt-entrypoint"`
	LegacyEntrypoint string            `yaml:"legacy-entrypoint"`
	Labels           map[string]string `yaml:"labels"`
	Annotations      map[string]string `yaml:"annotations"`
	Checksums        []string          `yaml:"checksums"`
	Keyrings         []string          `yaml:"keyrings"`
}

// recipeSource is a SOURCE, and what it has to be.
type recipeSource struct {
	config.Place `yaml:"-"`

	Source string `yaml:"source,plain"`
	SHA256 string `yaml:"sha256"`
}

// recipeVariant is one platform.
type recipeVariant struct {
	config.Place `yaml:"-"`

	Platform string         `yaml:"platform"`
	Own      recipeSettings `yaml:",inline"`

	parsed spec.Platform
}

// OpenRecipe reads a recipe from a file, see ReadRecipe. If there is no such file,
// the exit code is 4.
func OpenRecipe(file string, set map[string]string) (*Recipe, error) {
	b, _, err := readDocument("recipe", file)
	if err != nil {
		return nil, err
	}
	return ReadRecipe(file, b, set)
}

// ReadRecipe reads a recipe. file names it, and its directory is what the
// relative paths in it are relative to. set are values of variables. Every
// mistake is told with its line; exit code 2.
func ReadRecipe(file string, b []byte, set map[string]string) (*Recipe, error) {
	r := &Recipe{file: file, self: newInput(file, b), dir: filepath.Dir(file)}
	if err := config.Decode(file, b, r); err != nil {
		return nil, err
	}
	if err := r.expand(set); err != nil {
		return nil, err
	}
	return r, r.check()
}

// check finds the mistakes that can be seen without looking at any source.
func (r *Recipe) check() error {
	var errs config.Errors
	fail := func(p config.Place, format string, a ...any) { errs = append(errs, p.Errorf(format, a...)) }
	if len(r.Platforms) == 0 {
		fail(r.At("platforms"), "there is no platform to build for")
	}
	if r.Image != "" {
		if _, err := transport.ParseReference(r.Image); err != nil {
			fail(r.At("image"), "%v", err)
		}
	}
	if _, err := ParseFormat(cmp.Or(r.Format, string(FormatImage))); err != nil {
		fail(r.At("format"), "%v", err)
	}
	if r.Compression != "" {
		if _, err := archive.ParseCompression(r.Compression); err != nil {
			fail(r.At("compression"), "%v", err)
		}
	}
	if r.Layers != "" && r.Layers != "single" && r.Layers != "per-file" {
		fail(r.At("layers"), "want single or per-file, not %q", r.Layers)
	}
	for key, label := range map[string]string{"os-name": spec.LabelOSName, "os-version": spec.LabelOSVersion} {
		if value := map[string]string{"os-name": r.OSName, "os-version": r.OSVersion}[key]; r.Has(key) {
			if err := spec.CheckPathLabel(label, value); err != nil {
				fail(r.At(key), "%v", err)
			}
		}
	}
	errs = append(errs, checkSources(r.Common.Sources)...)
	first := map[spec.Platform]int{}
	for i := range r.Platforms {
		p := &r.Platforms[i]
		var err error
		if p.parsed, err = spec.ParsePlatform(p.Platform); err != nil {
			fail(p.At("platform"), "%v", err)
		} else if line, twice := first[p.parsed]; twice {
			fail(p.At("platform"), "%s is built twice, first in line %d", p.parsed, line)
		} else {
			first[p.parsed] = p.Line()
		}
		if len(p.Own.Sources)+len(r.Common.Sources) == 0 {
			fail(p.At("sources"), "there is no source for %q", p.Platform)
		}
		errs = append(errs, checkSources(p.Own.Sources)...)
	}
	slices.SortStableFunc(errs, func(a, b *config.Error) int { return a.Line - b.Line })
	return errs.Err()
}

func checkSources(list []recipeSource) config.Errors {
	var errs config.Errors
	for _, s := range list {
		switch {
		case s.Source == "":
			errs = append(errs, s.At("source").Errorf("names nothing"))
		case s.SHA256 == "":
		case !source.IsSHA256(s.SHA256):
			errs = append(errs, s.At("sha256").Errorf("want 64 hexadecimal digits in lower case, not %q", s.SHA256))
		case source.IsImage(s.Source):
			errs = append(errs, s.At("sha256").Errorf("an image is pinned in its name: NAME@sha256:HEX"))
		case source.IsURL(s.Source) && strings.Contains(s.Source, "#"):
			errs = append(errs, s.At("sha256").Errorf("the URL has a fragment, which may be a pin, too"))
		}
	}
	return errs
}

// Destination is where the recipe puts the index; false if it does not say.
func (r *Recipe) Destination() (string, bool, error) {
	if r.Image == "" {
		return "", false, nil
	}
	name, err := r.local(r.Image, true)
	return name, true, err
}

// Scan plans all platforms, or only some. base has what does not come from the
// recipe. The plans have to be closed; with an error none is left open.
func (r *Recipe) Scan(ctx context.Context, base Options, only []spec.Platform) ([]*Plan, error) {
	variants, err := r.choose(only)
	if err != nil {
		return nil, err
	}
	var plans []*Plan
	for _, v := range variants {
		o, err := r.options(base, v)
		if err == nil {
			var plan *Plan
			if plan, err = Scan(ctx, o); err == nil {
				plans = append(plans, plan)
				continue
			}
		}
		err = fmt.Errorf("%s:%d: %s: %w", r.file, v.Line(), v.parsed, err)
		for _, p := range plans {
			err = errors.Join(err, p.Close())
		}
		return nil, err
	}
	return plans, nil
}

// choose gives the platforms that are wanted, in the order of the recipe.
func (r *Recipe) choose(only []spec.Platform) ([]*recipeVariant, error) {
	var chosen []*recipeVariant
	var names []string
	for i := range r.Platforms {
		v := &r.Platforms[i]
		names = append(names, v.parsed.String())
		if len(only) == 0 || slices.Contains(only, v.parsed) {
			chosen = append(chosen, v)
		}
	}
	for _, p := range only {
		if !slices.Contains(names, p.String()) {
			return nil, badOption("it has "+strings.Join(names, ", "), "the recipe %q does not build for %s", r.file, p)
		}
	}
	return chosen, nil
}

// options are those of one platform.
func (r *Recipe) options(base Options, v *recipeVariant) (Options, error) {
	o, common, own := base, &r.Common, &v.Own
	o.recipe = &r.self
	o.Platform, o.OSName, o.OSVersion = v.parsed, r.OSName, r.OSVersion
	o.Format, o.Compression = Format(r.Format), archive.Compression(r.Compression)
	o.PerFileLayers = r.Layers == "per-file"
	o.RequireVerified, o.VersionFile = r.RequireVerified, r.VersionFile
	o.Include = slices.Concat(common.Include, own.Include)
	o.Exclude = slices.Concat(common.Exclude, own.Exclude)
	o.Rename = merged(common.Rename, own.Rename)
	o.Labels = merged(common.Labels, own.Labels)
	o.Annotations = merged(common.Annotations, own.Annotations)
	o.Entrypoint = cmp.Or(own.Entrypoint, common.Entrypoint)
	o.AltEntrypoint = cmp.Or(own.AltEntrypoint, common.AltEntrypoint)
	o.LegacyEntrypoint = cmp.Or(own.LegacyEntrypoint, common.LegacyEntrypoint)
	if f := cmp.Or(own.Flatten, common.Flatten); f != nil {
		o.Flatten = *f
	}
	if base.Log != nil {
		o.Log = func(format string, a ...any) { base.Log("%s: %s", v.parsed, fmt.Sprintf(format, a...)) }
	}
	o.Pins = map[string]string{}
	for _, s := range slices.Concat(common.Sources, own.Sources) {
		name, err := r.local(s.Source, false)
		if err != nil {
			return o, err
		}
		switch {
		case s.SHA256 == "":
		case source.IsURL(name):
			name += "#sha256=" + s.SHA256
		default:
			o.Pins[name] = s.SHA256
		}
		o.Sources = append(o.Sources, name)
	}
	var err error
	if o.Checksums, err = r.locals(common.Checksums, own.Checksums); err != nil {
		return o, err
	}
	o.Keyrings, err = r.locals(common.Keyrings, own.Keyrings)
	return o, err
}

func (r *Recipe) locals(lists ...[]string) ([]string, error) {
	var all []string
	for _, name := range slices.Concat(lists...) {
		name, err := r.local(name, false)
		if err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	return all, nil
}

// local makes a path that is relative to the recipe one that is relative to where
// nbpack runs. What is nowhere on disk stays as it is.
func (r *Recipe) local(name string, image bool) (string, error) {
	if image || source.IsImage(name) {
		ref, err := transport.ParseReference(name)
		if err != nil || !ref.IsLocal() || filepath.IsAbs(ref.Name) {
			return name, err
		}
		ref.Name = filepath.Join(r.dir, ref.Name)
		return ref.String(), nil
	}
	disk, ok := source.LocalPath(name)
	if !ok || filepath.IsAbs(disk) {
		return name, nil
	}
	prefix := strings.TrimSuffix(name, disk) // file:
	return prefix + filepath.Join(r.dir, disk), nil
}

func merged(a, b map[string]string) map[string]string {
	m := maps.Clone(a)
	if m == nil {
		m = map[string]string{}
	}
	maps.Copy(m, b)
	return m
}
