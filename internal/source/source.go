package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
)

// Options say what to open and what of it is wanted.
type Options struct {
	// Sources in the order of the user; see [Open].
	Sources []string
	// Plain packs every source that is a file as it is, whatever it holds.
	Plain bool
	// Take tells whether a name is wanted. Nil: everything is.
	Take func(name string) bool
	// Prune tells that nothing below a directory is wanted, so that it need not
	// be looked into. May be nil.
	Prune func(dir string) bool
	// Chosen says that Take goes by names that the user gave, so that packages
	// offer all their files and not only those that the rule for them names.
	Chosen bool
	// Skip are files on disk that are left out.
	Skip []fs.FileInfo
	// Pins are the SHA-256, in hex, that sources must have, by their names in
	// Sources; for files on disk only, because URLs have #sha256=HEX.
	Pins map[string]string
	// Found says where sources are, by their names in Sources: another path on disk,
	// or the reference of an image. They keep the name that they have in Sources.
	Found map[string]string
	// Hash finds out the SHA-256 of every source that is a file and holds others,
	// for Origins.
	Hash bool
	// Admit is asked for each source that is a file and holds others, by its file
	// name and its SHA-256 in hex, before it is read. Its error ends Open. May be
	// nil.
	Admit func(base, sha256 string) error
	// Platform chooses from an index of images. The zero value chooses the only
	// one there is.
	Platform spec.Platform
	// Client opens images and asks web servers. Nil: such sources are refused.
	Client *transport.Client
	// PlainHTTP allows web servers without TLS, and certificates that nobody
	// vouches for.
	PlainHTTP bool
	// TempDir holds what has to be kept of streams. Empty: /var/tmp, because
	// that can be large.
	TempDir string
	// Log takes remarks for the user. May be nil.
	Log func(format string, a ...any)
	// Progress hears of bytes that go over the network. May be nil.
	Progress transport.Progress
}

func (o *Options) take(name string) bool  { return o.Take == nil || o.Take(name) }
func (o *Options) prune(name string) bool { return o.Prune != nil && o.Prune(name) }

func (o *Options) skip(info fs.FileInfo) bool {
	return slices.ContainsFunc(o.Skip, func(s fs.FileInfo) bool { return os.SameFile(s, info) })
}

func (o *Options) log(format string, a ...any) {
	if o.Log != nil {
		o.Log(format, a...)
	}
}

// Entry is one thing that a source holds.
type Entry struct {
	Name   string         // in the payload, before renaming
	Type   spec.EntryType // file, directory or symlink
	Size   int64          // bytes of a file
	Target string         // of a symlink, as written
	Source string         // the source as the user wrote it
	Origin string         // where it lies, to show
	Whole  bool           // the file is the source itself
	// SHA256 that somebody promised for the content, in hex, and who. Empty
	// where nobody did. Who reads the file has to compare.
	SHA256, PromisedBy string

	content content
}

// content is the bytes of a file.
type content interface {
	// open gives the bytes from the beginning. If they are not those that were
	// there when the source was opened, reading ends with an error.
	open(ctx context.Context) (io.ReadCloser, error)
}

// Open gives the content of a file. It is the one that was seen when the source
// was opened: if it changed since, Open or reading to the end fails.
func (e *Entry) Open(ctx context.Context) (io.ReadCloser, error) {
	if e.content == nil {
		return nil, fmt.Errorf("%q is not a file", e.Name)
	}
	return e.content.open(ctx)
}

// Set is what all sources hold together.
type Set struct {
	o       Options
	spool   *spool
	opened  []*opened
	entries []Entry
	byName  map[string]int
}

// opened is one source.
type opened struct {
	name    string
	entries []Entry
	facts   []Fact
	notes   []string
	file    bool   // it is one file
	sha256  string // of that file, where it is known
	// manifest is the digest of a source that is an image.
	manifest digest.Digest
	// recheck fails if the source is not what it was. May be nil.
	recheck func(ctx context.Context) error
	// close releases what reading needs. May be nil.
	close func() error
}

// Open looks at all sources, in order, and merges what they hold. A SOURCE is,
// told by its beginning or by its first bytes:
//
//   - a directory, whose contents go to the top of the tree
//   - a tar archive, plain or compressed by gzip, xz or zstd, a .deb or .rpm
//     package, an ISO 9660 image; likewise
//   - any other file, or one with file: in front, under its base name
//   - http:// or https:// and any of these, or an install tree; #sha256=HEX
//     behind it pins the content
//   - an image, as in containers-storage:, oci:, oci-archive:, dir: and docker://
//
// Two sources may share directories, and files and links that are equal. The
// Set has to be closed.
//
// Errors tell their exit code: 2 for sources that make no sense, 3 for content
// that is refused, 4 for what does not exist.
func Open(ctx context.Context, o Options) (*Set, error) {
	if err := checkPins(&o); err != nil {
		return nil, err
	}
	s := &Set{o: o, spool: &spool{dir: o.TempDir}, byName: map[string]int{}}
	for _, name := range o.Sources {
		if err := s.add(ctx, name); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	slices.SortFunc(s.entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// Entries gives what the sources hold and Take lets through, sorted by name.
func (s *Set) Entries() []Entry { return s.entries }

// Facts gives what the sources say about themselves, in the order of the sources.
func (s *Set) Facts() []Fact {
	var all []Fact
	for _, o := range s.opened {
		all = append(all, o.facts...)
	}
	return all
}

// Notes tells the user how sources were understood.
func (s *Set) Notes() []string {
	var all []string
	for _, o := range s.opened {
		all = append(all, o.notes...)
	}
	return all
}

// Recheck looks at all sources again. Each file held still while it was read;
// this finds one that changed before its turn or after it, and names that came
// or went.
func (s *Set) Recheck(ctx context.Context) error {
	for _, o := range s.opened {
		if o.recheck == nil {
			continue
		}
		if err := o.recheck(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close releases the sources, and what was kept of them.
func (s *Set) Close() error {
	var err error
	for _, o := range s.opened {
		if o.close != nil {
			err = errors.Join(err, o.close())
		}
	}
	s.opened = nil
	return errors.Join(err, s.spool.close())
}

// add opens one source and merges it.
func (s *Set) add(ctx context.Context, name string) error {
	o, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	s.opened = append(s.opened, o)
	for i := range o.entries {
		o.entries[i].Source = name
		if err := s.merge(ctx, o.entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// merge lets sources share directories, and what is equal.
func (s *Set) merge(ctx context.Context, e Entry) error {
	i, ok := s.byName[e.Name]
	if !ok {
		if len(s.entries) >= spec.MaxEntries {
			return refuse(RuleName, e.Name, HintExclude, "the sources hold more than %d names", spec.MaxEntries)
		}
		s.byName[e.Name] = len(s.entries)
		s.entries = append(s.entries, e)
		return nil
	}
	same, err := equal(ctx, &s.entries[i], &e)
	if err != nil || same {
		return err
	}
	return refuse(RuleClash, e.Name, "leave one of them out, or pack each source in a directory of its own",
		"is in source %q and in source %q", s.entries[i].Source, e.Source)
}

// equal tells whether two entries of one name are the same thing.
func equal(ctx context.Context, a, b *Entry) (bool, error) {
	if a.Type != b.Type || a.Size != b.Size || a.Target != b.Target {
		return false, nil
	}
	if a.Type != spec.TypeFile {
		return true, nil
	}
	x, err := a.sum(ctx)
	if err != nil {
		return false, err
	}
	y, err := b.sum(ctx)
	return x == y, err
}
