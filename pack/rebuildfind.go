package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/internal/source"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/spec"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// finder looks for what a provenance names: by digest, below the directories of
// the user. A name there only says where to look first.
type finder struct {
	dirs  []string
	fetch bool
	files []string          // everything regular below dirs
	trees []string          // dirs, and the directories below them
	sums  map[string]string // SHA-256 in hex of files that were read, by path
	note  func(Input)
	again *again
}

// Input is one thing that a rebuild reads.
type Input struct {
	Name string `json:"name"` // as the provenance calls it
	Role Role   `json:"role"`
	At   string `json:"at"` // where it is now
	// Promised is the digest that the provenance says. Changed tells that only
	// something of this name was found, which has another.
	Promised digest.Digest `json:"promised,omitempty"`
	Changed  bool          `json:"changed,omitempty"`
}

func newFinder(dirs []string, fetch bool, note func(Input)) (*finder, error) {
	f := &finder{fetch: fetch, sums: map[string]string{}, note: note, again: &again{found: map[string]string{}}}
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			return nil, fmt.Errorf("looking at %q: %w", dir, err)
		}
		f.dirs = append(f.dirs, abs)
	}
	return f, nil
}

// list walks through the directories, once.
func (f *finder) list(ctx context.Context) error {
	for _, dir := range f.dirs {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("looking for sources: %w", err)
			}
			if d.IsDir() {
				f.trees = append(f.trees, name)
			} else if d.Type().IsRegular() {
				f.files = append(f.files, name)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// find finds all that a build has read. dirOf gives the dirHash of a directory as
// that build would see it.
func (f *finder) find(ctx context.Context, d *BuildDefinition, dirOf func(name, disk string) (string, error)) error {
	if err := f.list(ctx); err != nil {
		return err
	}
	// What is compared with directories must not count the lists in them, so these
	// come first.
	for _, role := range []Role{RoleChecksums, RoleKeyring, RoleSource} {
		for _, r := range d.with(role) {
			at, err := f.one(ctx, &r, dirOf)
			if err != nil {
				return err
			}
			promised := r.digest()
			if other, twice := f.again.found[r.Name]; twice && other != at {
				return refuse(ruleProvenance, r.Name, "", "stands for two different things")
			}
			f.again.found[r.Name] = at
			f.note(Input{Name: r.Name, Role: role, At: plainPlace(at), Promised: promised, Changed: f.sums[at] != "" && f.sums[at] != promised.Encoded()})
		}
	}
	return nil
}

// plainPlace is a place as users read it.
func plainPlace(at string) string { return strings.TrimPrefix(at, source.FilePrefix) }

// one says where a thing is.
func (f *finder) one(ctx context.Context, r *Resource, dirOf func(name, disk string) (string, error)) (string, error) {
	var at string
	var err error
	base := baseName(r.Name)
	switch kind := r.Notes.Kind; {
	case kind == kindImage:
		at, err = f.image(r)
	case kind == kindDirectory:
		at, err = f.directory(ctx, r, base, dirOf)
	case kind == kindTree:
	default:
		at, err = f.file(ctx, r, base, false)
	}
	if err != nil || at != "" {
		return at, err
	}
	if at = f.remote(r); at != "" {
		return at, nil
	}
	if r.Notes.Kind != kindImage && r.Notes.Kind != kindTree && !source.IsURL(r.Name) {
		// What has the name and another content leads to another image, and then
		// it can be said which files differ.
		if at, err = f.file(ctx, r, base, true); err != nil || at != "" {
			return at, err
		}
	}
	hint := "name a directory that has it with --source-dir"
	if r.URI != "" && !f.fetch {
		hint += ", or let it be fetched with --fetch"
	}
	return "", &notFound{fmt.Errorf("%s %q with the digest %s is in none of the directories", r.Notes.Role, r.Name, r.digest()), hint}
}

// notFound is something that the provenance names: exit code 4.
type notFound struct {
	error
	hint string
}

func (*notFound) ExitCode() int  { return 4 }
func (e *notFound) Hint() string { return e.hint }

// baseName gives the last element of a name.
func baseName(name string) string {
	name = source.Public(name) // without file:
	if source.IsURL(name) {
		name = strings.TrimRight(name, "/")
	}
	return path.Base(name)
}

// remote gives the place of what the user allows to be fetched, pinned where it
// can be.
func (f *finder) remote(r *Resource) string {
	d := r.digest()
	switch {
	case !f.fetch:
	case source.IsTree(r.Name):
		return r.Name
	case source.IsURL(r.Name) && d.Algorithm() == digest.SHA256:
		return r.Name + "#sha256=" + d.Encoded()
	case r.Notes.Kind == kindImage:
		ref, err := transport.ParseReference(r.Name)
		if err == nil && ref.Transport == transport.Docker {
			return transport.Reference{Transport: ref.Transport, Name: ref.Name, Digest: d}.String()
		}
	}
	return ""
}

// file finds a file by its digest, first among those of the name; or, if that is
// all there is, by the name.
func (f *finder) file(ctx context.Context, r *Resource, base string, byName bool) (string, error) {
	var found string
	for _, same := range []bool{true, false} {
		for _, name := range f.files {
			if (filepath.Base(name) == base) != same || found != "" && !same {
				continue
			}
			sum, err := f.sum(ctx, name)
			if err != nil {
				return "", err
			}
			if byName && same || sum == r.digest().Encoded() {
				if found == "" {
					found = name
				}
				if err := f.skipCopy(r, name); err != nil {
					return "", err
				}
			}
		}
	}
	return found, nil
}

// skipCopy notes a list of checksums, which is not packed wherever it lies.
func (f *finder) skipCopy(r *Resource, name string) error {
	if r.Notes.Role != RoleChecksums {
		return nil
	}
	info, err := os.Stat(name)
	if err == nil {
		f.again.skip = append(f.again.skip, info)
	}
	return err
}

func (f *finder) sum(ctx context.Context, name string) (string, error) {
	if sum, ok := f.sums[name]; ok {
		return sum, nil
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	file, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("looking for sources: %w", err)
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, file}); err != nil {
		return "", fmt.Errorf("looking for sources: %w", err)
	}
	f.sums[name] = hex.EncodeToString(h.Sum(nil))
	return f.sums[name], nil
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// directory finds a directory: one below those of the user that has the name, or
// one of theirs. If none has the digest, the first of the name is taken, or the
// only one that the user gave.
func (f *finder) directory(ctx context.Context, r *Resource, base string, dirOf func(name, disk string) (string, error)) (string, error) {
	var named, near []string
	for _, disk := range f.trees {
		if filepath.Base(disk) == base {
			named = append(named, disk)
		}
	}
	for _, disk := range slices.Concat(named, f.dirs) {
		sum, err := dirOf(r.Name, disk)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil: // what cannot be read as a source is none
		case sum == r.digest().Encoded():
			return disk, nil
		case slices.Contains(named, disk) || len(f.dirs) == 1:
			f.sums[disk], near = sum, append(near, disk)
		}
	}
	if len(near) > 0 {
		return near[0], nil
	}
	return "", nil
}

// image finds an image in a layout.
func (f *finder) image(r *Resource) (string, error) {
	d := r.digest()
	blob := filepath.Join("blobs", d.Algorithm().String(), d.Encoded())
	for _, dir := range f.trees {
		if isFile(filepath.Join(dir, ocispec.ImageLayoutFile)) && isFile(filepath.Join(dir, blob)) {
			return transport.Reference{Transport: transport.OCI, Name: dir, Digest: d}.String(), nil
		}
	}
	return "", nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// hashDirectory gives the dirHash of a directory, of what a build would take.
func hashDirectory(ctx context.Context, o Options, name, disk string) (string, error) {
	a := *o.again
	a.found = map[string]string{name: disk}
	o.again, o.Sources, o.Log = &a, []string{name}, nil
	f, err := checkOptions(&o)
	if err != nil {
		return "", err
	}
	set, err := openSources(ctx, &o, f, &verification{})
	if err != nil {
		return "", err
	}
	defer set.Close()
	var files []spec.Sum
	for _, e := range set.Entries() {
		if e.Type != spec.TypeFile {
			continue
		}
		sum, err := hashEntry(ctx, &e)
		if err != nil {
			return "", err
		}
		files = append(files, spec.Sum{Path: e.Name, SHA256: sum})
	}
	return hashFiles(files), nil
}

func hashEntry(ctx context.Context, e *source.Entry) (string, error) {
	r, err := e.Open(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", fmt.Errorf("reading %q: %w", e.Origin, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
