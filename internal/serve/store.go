package serve

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// store finds files for clients.
type store struct {
	root *root
	view *view
	pins *pins
	warn func(format string, a ...any)
}

// file is an open file or directory, and where it came from.
type file struct {
	*os.File
	info   fs.FileInfo
	path   string // as the client named it, cleaned
	real   string // below the root
	digest string // of the generation it belongs to; empty for files of the site
	end    func() // nil, or tells the pin that the file was sent
}

// Close closes the file and lets its pin run down from now.
func (f *file) Close() error {
	if f.end != nil {
		f.end()
	}
	return f.File.Close()
}

// maxLinks is how many links one request may go through, as in the kernel.
const maxLinks = 40

// open finds the file or directory that a client means by name, slash separated.
// pinning says that the client is one that boots: the first file it asks of a tree
// decides which generation of it the client gets from now on.
//
// The error is fs.ErrNotExist for all that is not to be had, whatever the reason.
func (s *store) open(client netip.Addr, name string, pinning bool) (*file, error) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	// A generation that vanishes between two steps was removed by hand, or with
	// its tree; the second attempt sees what is there then.
	for attempt := 0; ; attempt++ {
		f, err := s.attempt(client, name, pinning)
		if err != errVanished || attempt == 2 {
			return f, err
		}
	}
}

// errVanished tells that the generation a client was pinned to is gone.
var errVanished = errors.New("the generation is gone")

func (s *store) attempt(client netip.Addr, name string, pinning bool) (*file, error) {
	trees, err := s.view.current()
	if err != nil {
		s.warn("%v", err)
	}
	w := &walk{store: s, client: client, pinning: pinning, trees: trees, chosen: map[string]string{}}
	e, err := w.to(name)
	if err != nil {
		return nil, err
	}
	f, err := s.root.open(e.path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	out := &file{File: f, info: info, path: name, real: e.path, digest: w.digest}
	if pinning && w.key.live != "" {
		out.end = s.pins.begin(w.key)
	}
	return out, nil
}

// walk goes from the root to one file for one client.
type walk struct {
	*store
	client  netip.Addr
	pinning bool
	trees   []tree
	chosen  map[string]string // live path → digest, so that one walk sees one generation
	key     pinKey            // of the tree that the last step was in
	digest  string            // of the generation that the last step was in
}

// to follows name, and the links on its way, which may lead anywhere inside the
// root but nowhere else.
func (w *walk) to(name string) (*entry, error) {
	missing := &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	at := &entry{path: ".", kind: unix.S_IFDIR}
	todo := strings.Split(name, "/")
	for links := 0; len(todo) > 0; {
		element := todo[0]
		todo = todo[1:]
		switch {
		case element == "" || element == ".":
			continue
		case at.kind != unix.S_IFDIR:
			return nil, missing
		case element == "..":
			if at.path == "." {
				return nil, missing
			}
			at = &entry{path: path.Dir(at.path), kind: unix.S_IFDIR}
			continue
		case !visible(element):
			return nil, missing
		}
		next := path.Join(at.path, element)
		e, err := w.look(next)
		if err != nil {
			return nil, err
		}
		switch e.kind {
		case unix.S_IFLNK:
			if links++; links > maxLinks || path.IsAbs(e.target) {
				return nil, missing
			}
			todo = append(strings.Split(e.target, "/"), todo...)
		case unix.S_IFDIR:
			at = &entry{path: next, kind: unix.S_IFDIR}
		case unix.S_IFREG:
			at = e
		default:
			return nil, missing
		}
	}
	if at.kind == unix.S_IFDIR && at.path != "." {
		return w.look(at.path)
	}
	return at, nil
}

// visible tells whether a name may be served. Names with a dot in front are those
// of nbextract, of editors and of version control.
func visible(name string) bool {
	return !strings.HasPrefix(name, ".") && !strings.ContainsRune(name, 0)
}

// look tells what the client sees at a path: inside a tree what its generation has
// there, else what the site has there.
func (w *walk) look(p string) (*entry, error) {
	t, rel := w.at(p)
	digest := ""
	if t != nil {
		var err error
		if digest, err = w.generation(t); err != nil {
			return nil, err
		}
	}
	if digest == "" {
		w.digest, w.key = "", pinKey{}
		return w.root.look(p)
	}
	w.digest, w.key = digest, pinKey{w.client, t.live}
	home := path.Join(generations, hexOf(digest))
	e, err := w.inGeneration(t, digest, home, p, rel)
	if !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	if _, err := w.root.look(home); errors.Is(err, fs.ErrNotExist) {
		w.pins.drop(w.key)
		return nil, errVanished
	}
	return w.stranger(t, p, rel)
}

// inGeneration looks at what a generation has at a path of a tree.
func (w *walk) inGeneration(t *tree, digest, home, p, rel string) (*entry, error) {
	a := w.view.arranged(t.live, digest)
	if a == nil {
		return w.root.look(path.Join(home, rel))
	}
	if e, ok := a.entry(rel); ok {
		return w.lookArranged(e, home, p)
	}
	return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
}

// generation gives the digest of what the client gets of a tree, and the empty
// string where that is what lies at the live path.
func (w *walk) generation(t *tree) (string, error) {
	if digest, ok := w.chosen[t.live]; ok {
		return digest, nil
	}
	key := pinKey{w.client, t.live}
	var digest string
	var err error
	if w.pinning {
		digest, err = w.pins.take(key, t.digest)
	} else if digest = w.pins.peek(key); digest == "" {
		digest = t.digest
		_, err = w.root.look(path.Join(generations, hexOf(digest)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		// The record may be older than the look.
		if now, _ := w.view.current(); !slices.ContainsFunc(now, t.same) {
			return "", errVanished
		}
		w.warn("the generation %s of %q is not there: the tree is served as it lies, and an update can mix it", t.digest, t.live)
	} else if err != nil {
		return "", err
	}
	w.chosen[t.live] = digest
	if err != nil {
		w.chosen[t.live] = ""
	}
	return w.chosen[t.live], nil
}

// stranger looks for a file of the site in the live tree. What some generation has
// at the same path came with an image: with another one than the client's,
// or the client's would have it, so it is not for this client.
func (w *walk) stranger(t *tree, p, rel string) (*entry, error) {
	e, err := w.root.look(p)
	if err != nil {
		return nil, err
	}
	w.digest = ""
	if e.kind == unix.S_IFDIR {
		return e, nil
	}
	if t.arranged != nil {
		if _, managed := t.arranged.entry(rel); managed {
			return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
		}
		return e, nil
	}
	names, err := w.root.names(generations)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if g, err := w.root.look(path.Join(generations, n, rel)); err == nil && g.same(e) {
			return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
		}
	}
	return e, nil
}
