package pack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nbpack/nbpack/spec"
)

// node is one thing that a source holds.
type node struct {
	name   string // in the payload, before renaming
	kind   spec.EntryType
	target string      // of a symlink
	info   fs.FileInfo // as it was when it was found
	source string      // the SOURCE argument
	rel    string      // below the directory that openSource gives
	disk   string      // where it lies, to show
}

// openSource opens the directory that a SOURCE argument is, or lies in, and for
// a file also gives its name there and its name in the payload. A link that was
// named as a SOURCE is followed, links below it never are.
func openSource(source string) (root *os.Root, rel, name string, err error) {
	info, err := os.Stat(source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", "", &missingError{fmt.Errorf("no source %q", source)}
	}
	if err != nil {
		return nil, "", "", fmt.Errorf("looking at source %q: %w", source, err)
	}
	dir := source
	switch {
	case info.Mode().IsRegular():
		real, err := filepath.EvalSymlinks(source)
		if err != nil {
			return nil, "", "", fmt.Errorf("looking at source %q: %w", source, err)
		}
		dir, rel, name = filepath.Dir(real), filepath.Base(real), filepath.Base(source)
	case !info.IsDir():
		return nil, "", "", refuse(ruleSourceType, source, "", "source is a %s, neither a directory nor a file", typeName(info.Mode()))
	}
	root, err = os.OpenRoot(dir)
	if err != nil {
		return nil, "", "", fmt.Errorf("opening source %q: %w", source, err)
	}
	return root, rel, name, nil
}

// scanner collects the nodes of all sources.
type scanner struct {
	ctx    context.Context
	filter *filter
	skip   fs.FileInfo // the checksum file, which is not packed
	nodes  []node
	byName map[string]int // into nodes
}

// scanSources gives everything that the sources hold and the filter lets
// through, sorted by name. Directories that two sources share appear once.
func scanSources(ctx context.Context, o *Options, f *filter) ([]node, error) {
	s := &scanner{ctx: ctx, filter: f, byName: map[string]int{}}
	if o.Checksums != "" {
		info, err := os.Stat(o.Checksums)
		if err != nil {
			return nil, fmt.Errorf("looking at the checksum file: %w", err)
		}
		s.skip = info
	}
	for _, source := range o.Sources {
		if err := s.source(source); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.nodes, func(a, b node) int { return strings.Compare(a.name, b.name) })
	return s.nodes, nil
}

func (s *scanner) source(source string) error {
	root, rel, name, err := openSource(source)
	if err != nil {
		return err
	}
	defer root.Close()
	if rel != "" {
		info, err := root.Lstat(rel)
		if err != nil {
			return fmt.Errorf("looking at source %q: %w", source, err)
		}
		return s.add(root, node{name: name, info: info, source: source, rel: rel, disk: source})
	}
	return fs.WalkDir(root.FS(), ".", func(rel string, d fs.DirEntry, err error) error {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("reading source %q: %w", source, err)
		}
		if rel == "." {
			return nil
		}
		if s.filter.excluded(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		disk := filepath.Join(source, filepath.FromSlash(rel))
		info, err := root.Lstat(rel) // not d.Info, which goes by the path of the source
		if err != nil {
			return fmt.Errorf("looking at %q: %w", disk, err)
		}
		return s.add(root, node{name: rel, info: info, source: source, rel: rel, disk: disk})
	})
}

// add takes one node, if the filter lets it through and nothing is wrong with it.
func (s *scanner) add(root *os.Root, n node) error {
	if s.filter.excluded(n.name) || !s.filter.included(n.name) || s.skip != nil && os.SameFile(s.skip, n.info) {
		return nil
	}
	if err := checkName(n.name); err != nil {
		return err
	}
	switch mode := n.info.Mode(); {
	case mode.IsRegular():
		n.kind = spec.TypeFile
	case mode.IsDir():
		n.kind = spec.TypeDir
	case mode.Type() == fs.ModeSymlink:
		target, err := root.Readlink(n.rel)
		if err != nil {
			return fmt.Errorf("reading link %q: %w", n.name, err)
		}
		n.kind, n.target = spec.TypeSymlink, target
	default:
		return refuse(ruleSourceType, n.name, "leave it out with --exclude",
			"is a %s, not a file, directory or link", typeName(mode))
	}
	return s.merge(n)
}

// merge lets two sources share a directory, and nothing else.
func (s *scanner) merge(n node) error {
	i, ok := s.byName[n.name]
	if !ok {
		if len(s.nodes) >= spec.MaxEntries {
			return refuse(ruleSourceName, n.name, hintExclude, "the sources hold more than %d names", spec.MaxEntries)
		}
		s.byName[n.name] = len(s.nodes)
		s.nodes = append(s.nodes, n)
		return nil
	}
	if n.kind == spec.TypeDir && s.nodes[i].kind == spec.TypeDir {
		return nil
	}
	return refuse(ruleSourceClash, n.name, "leave one of them out, or pack each source in a directory of its own",
		"is in source %q and in source %q", s.nodes[i].source, n.source)
}

// checkName refuses what cannot be a name in a payload, and the name of the
// list of checksums, which this program writes itself.
func checkName(name string) error {
	if spec.FoldKey(name) == spec.FoldKey(spec.SumsName) {
		return refuse(ruleSourceName, name,
			"leave it out with --exclude "+path.Base(name)+"; to compare the files with it, use --checksums",
			"is the name of the list that is written into every image")
	}
	if err := spec.CheckPath(name); err != nil {
		var r *spec.Refusal
		if errors.As(err, &r) && r.Advice == "" {
			r.Advice = hintExclude
		}
		return err
	}
	return nil
}

// typeName names a type of file for a message.
func typeName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	case mode&fs.ModeSymlink != 0:
		return "link"
	case mode.IsDir():
		return "directory"
	}
	return "special file"
}
