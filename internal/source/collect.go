package source

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// member is one entry of an archive as its header says.
type member struct {
	name   string // as written
	kind   spec.EntryType
	size   int64
	target string // of a symlink, or the name of the first of hard links
	odd    string // what it is, where that is nothing to make an image of
	// at is where the content lies, where it can be read again. Nil: it is
	// kept.
	at content
}

// collector takes members of one archive and makes entries of those that are
// wanted.
type collector struct {
	s      *Set
	origin string // the archive, to show
	rule   rule
	names  map[string]int // into entries
	// all has every file of the archive by its name there, for hard links: nil
	// content if it was not taken.
	all     map[string]*Entry
	count   int
	length  int
	entries []Entry
	// Small files that tell about the release are read in passing.
	facts *facts
	// special, if set, sees every name first, and tells whether the member is
	// something else than a file of the tree.
	special func(full string, m member, r io.Reader) (bool, error)
}

func newCollector(s *Set, origin string, r rule) *collector {
	f := &facts{from: origin}
	return &collector{s: s, origin: origin, rule: r, names: map[string]int{}, all: map[string]*Entry{}, facts: f}
}

// maxMembers bounds how many entries an archive may have, wanted or not.
const maxMembers = 1 << 20

// add takes a member, whose content is r. It reads r only if that is wanted.
func (c *collector) add(ctx context.Context, m member, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.count++; c.count > maxMembers {
		return badArchive(c.origin, "it has more than %d entries", maxMembers)
	}
	if c.length += len(m.name) + len(m.target); c.length > 16*spec.MaxNamesSize {
		return badArchive(c.origin, "it has more than %d bytes of names", 16*spec.MaxNamesSize)
	}
	full, err := cleanName(m.name)
	if err != nil {
		return fmt.Errorf("in %q: %w", c.origin, err)
	}
	if full == "." {
		return nil
	}
	if c.special != nil {
		if done, err := c.special(full, m, r); done || err != nil {
			return err
		}
	}
	if m.kind == spec.TypeFile && m.odd == "" {
		if r, err = c.look(full, m, r); err != nil {
			return err
		}
	}
	name, wanted := c.choose(full, m)
	if !wanted {
		if m.kind == spec.TypeFile {
			c.all[full] = nil
		}
		return nil
	}
	e, err := c.entry(ctx, name, full, m, r)
	if err != nil {
		return fmt.Errorf("in %q: %w", c.origin, err)
	}
	return c.put(e, full)
}

// choose gives the name that a member has in the tree, and whether it is wanted.
func (c *collector) choose(full string, m member) (string, bool) {
	name, ruled := c.rule.name(full)
	if !ruled {
		name = full
	}
	// A package offers its boot set; the rest only to those who ask for it, who
	// do not ask for a directory by its bare existence.
	if c.rule.known() && !ruled && (!c.s.o.Chosen || m.kind == spec.TypeDir) {
		return "", false
	}
	return name, name != "." && !c.s.o.prune(name) && c.s.o.take(name)
}

// look reads what tells about the release, and gives the content anew.
func (c *collector) look(full string, m member, r io.Reader) (io.Reader, error) {
	hear := c.facts.peek(full, m.size)
	if hear == nil {
		return r, nil
	}
	b, err := io.ReadAll(io.LimitReader(r, m.size))
	if err != nil {
		return nil, fmt.Errorf("reading %q in %q: %w", full, c.origin, err)
	}
	hear(b)
	return strings.NewReader(string(b)), nil
}

// entry makes an entry of a member that is wanted.
func (c *collector) entry(ctx context.Context, name, full string, m member, r io.Reader) (Entry, error) {
	e := Entry{Name: name, Type: m.kind, Target: m.target, Origin: c.origin + ":/" + full}
	if err := CheckName(name); err != nil {
		return e, err
	}
	switch {
	case m.odd != "":
		return e, refuse(RuleType, name, "leave it out with --exclude", "is a %s, not a file, directory or link", m.odd)
	case m.kind == spec.TypeHardlink:
		return c.hardLink(e, m)
	case m.kind != spec.TypeFile:
		return e, nil
	}
	e.Size, e.content = m.size, m.at
	if m.at == nil {
		p, sum, err := c.s.spool.add(ctx, r, m.size)
		if err != nil {
			return e, fmt.Errorf("reading %q: %w", name, err)
		}
		e.content, e.SHA256 = p, sum
	}
	return e, nil
}

// hardLink makes a file of another name for a file that came before.
func (c *collector) hardLink(e Entry, m member) (Entry, error) {
	first, err := cleanName(m.target)
	if err != nil {
		return e, err
	}
	old, ok := c.all[first]
	switch {
	case !ok:
		return e, refuse(RuleType, e.Name, "leave it out with --exclude", "is a hard link to %q, which does not come before it", first)
	case old == nil:
		return e, refuse(RuleType, e.Name, "take that file too, or leave this one out with --exclude",
			"is another name of %q, which is left out, but has the content", first)
	}
	e.Type, e.Target, e.Size, e.content, e.SHA256 = spec.TypeFile, "", old.Size, old.content, old.SHA256
	return e, nil
}

// put notes an entry. A directory may come twice.
func (c *collector) put(e Entry, full string) error {
	if i, ok := c.names[e.Name]; ok {
		if e.Type == spec.TypeDir && c.entries[i].Type == spec.TypeDir {
			return nil
		}
		return refuse(RuleClash, e.Name, HintExclude, "is in %q twice", c.origin)
	}
	if len(c.entries) >= spec.MaxEntries {
		return refuse(RuleName, e.Name, HintExclude, "%q holds more than %d names", c.origin, spec.MaxEntries)
	}
	c.names[e.Name] = len(c.entries)
	c.entries = append(c.entries, e)
	if e.Type == spec.TypeFile {
		c.all[full] = &e
	}
	return nil
}

// cleanName gives the path that an archive means: packages write names from the
// root directory on. A name that leads out of the tree is refused.
func cleanName(name string) (string, error) {
	short, ok := strings.CutPrefix(name, "./")
	if !ok {
		short = strings.TrimPrefix(name, "/")
	}
	if short == "" && name != "" || name == "." {
		return ".", nil
	}
	p := strings.TrimSuffix(short, "/")
	if p == "" || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") || strings.HasPrefix(p, "/") || strings.Contains(p, "\x00") {
		return "", refuse(spec.RulePath, name, "such an archive is not to be trusted", "is no path below the top of an archive")
	}
	return p, nil
}
