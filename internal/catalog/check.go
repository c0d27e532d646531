package catalog

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/config"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/internal/transport/blobmirror"
	"github.com/nbpack/nbpack/spec"
)

// Bounds of what a catalogue may ask for.
const (
	maxConcurrency = 64
	maxKeep        = 1000
)

// entries checks a catalogue and puts its entries together.
func (c *Catalog) entries() ([]Entry, config.Errors) {
	k := &checker{}
	k.settings(c.Place, c.Settings)
	if n := c.Concurrency; n != nil && (*n < 1 || *n > maxConcurrency) {
		k.fail(c.At("concurrency"), "want a number from 1 to %d, not %d", maxConcurrency, *n)
	}
	k.mirrors(c)
	for name, file := range c.MenuTemplates {
		if !path.IsAbs(file) {
			k.fail(c.At("menu-templates", name), "want an absolute path, not %q: a timer starts anywhere", file)
		}
	}
	if len(c.Images) == 0 {
		k.fail(c.At("images"), "a catalogue names at least one image")
	}
	var entries []Entry
	for i := range c.Images {
		e := k.entry(&c.Images[i], c.Settings)
		if e.Destination == "" {
			k.fail(e.At("destination"), "no boot directory is named, neither here nor at the top")
		}
		entries = append(entries, e)
	}
	k.twice(entries)
	// Maps come in no order; users read from the top, and the same each time.
	slices.SortFunc(k.errs, func(a, b *config.Error) int {
		return cmp.Or(a.Line-b.Line, strings.Compare(a.Error(), b.Error()))
	})
	return entries, k.errs
}

// checker gathers what is wrong.
type checker struct{ errs config.Errors }

func (k *checker) fail(at config.Place, format string, args ...any) {
	k.errs = append(k.errs, at.Errorf(format, args...))
}

// settings checks what stands at one place.
func (k *checker) settings(at config.Place, s Settings) {
	if s.Destination != "" && !path.IsAbs(s.Destination) {
		k.fail(at.At("destination"), "want an absolute path, not %q: a timer starts anywhere", s.Destination)
	}
	for i, p := range s.Platforms {
		if p == "all" && len(s.Platforms) == 1 {
			break
		}
		if _, err := spec.ParsePlatform(p); err != nil {
			k.fail(at.At("platforms", i), "%v", err)
		}
	}
	if s.Live != "" && s.Live != "dir" && s.Live != "link" {
		k.fail(at.At("live"), "want dir or link, not %q", s.Live)
	}
	if s.Keep != nil && (*s.Keep < 1 || *s.Keep > maxKeep) {
		k.fail(at.At("keep"), "want a number from 1 to %d, not %d", maxKeep, *s.Keep)
	}
	for name, value := range s.Set {
		key := spec.LabelPrefix + strings.TrimPrefix(name, spec.LabelPrefix)
		if !slices.Contains(spec.PathLabels(), key) {
			k.fail(at.At("set", name), "only os.name, os.version and os.arch can be set")
		} else if err := spec.CheckPathLabel(key, value); err != nil {
			k.fail(at.At("set", name), "%v", err)
		}
	}
	if h := s.Hooks; h != nil {
		for name, argv := range map[string][]string{"pre-commit": h.PreCommit, "post-commit": h.PostCommit, "failed": h.Failed} {
			if len(argv) > 0 && !path.IsAbs(argv[0]) {
				k.fail(at.At("hooks", name), "want the absolute path of a program first, not %q", argv[0])
			}
		}
	}
}

func (k *checker) entry(img *Image, base Settings) Entry {
	k.settings(img.Place, img.Settings)
	e := Entry{
		Place: img.Place, Tags: img.Tags, Exclude: img.Exclude, Order: Order(img.Order),
		Settings: img.Settings.over(base),
	}
	given := 0
	for kind, name := range map[Kind]string{KindImage: img.Ref, KindRepository: img.Repository, KindIndex: img.Catalog} {
		if name != "" {
			given++
			e.Kind = kind
		}
	}
	if given != 1 {
		k.fail(img.Place, "want one of ref, repository and catalog")
		return e
	}
	e.Reference = k.reference(img, e.Kind)
	k.choice(img, &e)
	return e
}

// reference reads what the entry names.
func (k *checker) reference(img *Image, kind Kind) transport.Reference {
	name := map[Kind]string{KindImage: img.Ref, KindRepository: img.Repository, KindIndex: img.Catalog}[kind]
	at := img.At(string(kind))
	ref, err := transport.ParseReference(name)
	if err != nil {
		k.fail(at, "%v", err)
		return ref
	}
	last := name[strings.LastIndexByte(name, '/')+1:]
	tagged := strings.ContainsAny(last, ":@")
	if ref.Transport != transport.Docker {
		tagged = ref.Tag != "" || ref.Digest != ""
	}
	switch {
	case kind == KindRepository && (ref.Transport == transport.Dir || ref.Transport == transport.ContainersStorage):
		k.fail(at, "%q has no list of tags; name its images with ref", name)
	case kind == KindRepository && tagged:
		k.fail(at, "%q names an image; a repository has neither tag nor digest", name)
	case kind == KindIndex && (ref.Digest != "" || !tagged):
		k.fail(at, "%q names no tag under which the index of all releases is found", name)
	}
	if kind == KindRepository {
		ref.Tag = ""
	}
	return ref
}

// choice checks the keys that choose among tags or releases.
func (k *checker) choice(img *Image, e *Entry) {
	if e.Kind == KindImage {
		for _, key := range []string{"tags", "exclude", "newest", "order"} {
			if img.Has(key) {
				k.fail(img.At(key), "is about a repository or a catalog, not about one image")
			}
		}
		return
	}
	if e.Kind == KindRepository && len(img.Tags) == 0 {
		k.fail(img.At("tags"), "want the tags to take; [\"*\"] takes all")
	}
	if e.Kind == KindIndex && len(e.Tags) == 0 {
		e.Tags = []string{"*"}
	}
	for key, patterns := range map[string][]string{"tags": img.Tags, "exclude": img.Exclude} {
		for i, p := range patterns {
			if _, err := path.Match(p, ""); err != nil || p == "" {
				k.fail(img.At(key, i), "%q is no pattern", p)
			}
		}
	}
	if n := img.Newest; n != nil {
		if e.Newest = *n; *n < 1 {
			k.fail(img.At("newest"), "want a number from 1 on, not %d", *n)
		}
	}
	switch {
	case e.Order == "":
		e.Order = OrderNatural
	case !slices.Contains([]Order{OrderNatural, OrderSemver, OrderDate}, e.Order):
		k.fail(img.At("order"), "want natural, semver or date, not %q", img.Order)
	case img.Newest == nil:
		k.fail(img.At("order"), "has a meaning together with newest only")
	}
}

// mirrors checks where content may come from besides the registries.
func (k *checker) mirrors(c *Catalog) {
	for prefix, mirrors := range c.Mirrors {
		k.location(c.At("mirrors", prefix), prefix)
		for i, m := range mirrors {
			at := c.At("mirrors", prefix, i)
			if !strings.Contains(m, "://") {
				k.location(at, m)
			} else if _, err := blobmirror.Parse(m); err != nil {
				k.fail(at, "%v", err)
			}
		}
	}
	if o := c.MirrorOrder; o != "" && o != "listed" && o != "nearest" {
		k.fail(c.At("mirror-order"), "want listed or nearest, not %q", o)
	}
	if c.Has("url-hosts") && len(c.URLHosts) == 0 {
		k.fail(c.At("url-hosts"), "want at least one HOST[:PORT]")
	}
	for i, host := range c.URLHosts {
		if !transport.IsURLHost(host) {
			k.fail(c.At("url-hosts", i), "want HOST[:PORT], not %q", host)
		}
	}
}

// location checks one end of a mirror.
func (k *checker) location(at config.Place, s string) {
	host, _, _ := strings.Cut(s, "/")
	if host == "" || !strings.ContainsAny(host, ".:") && host != "localhost" || strings.ContainsAny(s, "@ ") || strings.Contains(s, "://") {
		k.fail(at, "want HOST[:PORT][/PATH], not %q", s)
	}
}

// twice refuses to name an image twice for one boot directory: which of the two
// settings would hold?
func (k *checker) twice(entries []Entry) {
	first := map[string]Entry{}
	for _, e := range entries {
		if e.Kind != KindImage || e.Reference.Name == "" {
			continue
		}
		key := path.Clean(e.Destination) + " " + e.Reference.String()
		if other, found := first[key]; found {
			k.fail(e.At("ref"), "the image is in the list already, in line %d", other.Line())
		} else {
			first[key] = e
		}
	}
}
