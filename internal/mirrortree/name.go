package mirrortree

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
)

// The grammars of the distribution specification.
var (
	nameGrammar = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	})
	tagGrammar = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	})
)

// maxName is what registries accept, with the host in front.
const maxName = 255

// CheckName refuses names that are no repository's, and those few whose directory
// would stand where a tree has something else.
func CheckName(name string) error {
	if len(name) > maxName || !nameGrammar().MatchString(name) {
		return fmt.Errorf("%q is not the name of a repository", name)
	}
	if name == "ping" || strings.HasPrefix(name, "ping/") || strings.Contains("/"+name+"/", "/tags/list/") {
		return fmt.Errorf("a tree has no place for a repository named %q", name)
	}
	return nil
}

// IsTag tells whether a tag is well-formed.
func IsTag(tag string) bool { return tagGrammar().MatchString(tag) }

// Repositories lists the repositories of a tree, sorted by directory. A tree that
// is empty has none.
func Repositories(tree fs.FS) ([]string, error) {
	var names []string
	err := fs.WalkDir(tree, V2, func(p string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && p == V2:
			return nil
		case err != nil:
			return err
		case !e.IsDir():
			return nil
		case path.Base(p) == tagsName:
			if name, ok := strings.CutPrefix(path.Dir(p), V2+"/"); ok && CheckName(name) == nil {
				names = append(names, name)
			}
			return fs.SkipDir
		case strings.Contains(path.Base(p), ":"): // one manifest
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for repositories: %w", err)
	}
	return names, nil
}
