package mirror

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/nbpack/nbpack/internal/mirrortree"
)

// holds tells whether a file has this content.
func (t *tree) holds(p string, content []byte) bool {
	st, err := t.lstat(p)
	if err != nil || !st.Mode().IsRegular() || st.Size() != int64(len(content)) {
		return false
	}
	have, err := t.root.ReadFile(p)
	return err == nil && bytes.Equal(have, content)
}

// putIfOther writes a file that does not have this content yet, so that what did
// not change keeps its time, and mirrors of the mirror have nothing to do.
func (t *tree) putIfOther(p string, content []byte, dirty *dirs) error {
	if t.holds(p, content) {
		return nil
	}
	return t.put(p, content, 0o644, dirty)
}

// tagsOf lists the tags of a repository, sorted.
func (t *tree) tagsOf(name string) ([]string, error) {
	list, err := t.list(mirrortree.Tags(name))
	if err != nil {
		return nil, fmt.Errorf("list the tags of the mirror: %w", err)
	}
	tags := []string{}
	for _, e := range list {
		if e.Type() == fs.ModeSymlink && mirrortree.IsTag(e.Name()) && t.names(name, e.Name()) != "" {
			tags = append(tags, e.Name())
		}
	}
	return tags, nil
}

// repositories lists the repositories of the tree.
func (t *tree) repositories() ([]string, error) {
	if t.root == nil {
		return nil, nil
	}
	return mirrortree.Repositories(t.root.FS())
}

// itemDone writes a repository's list of tags when all of its items are done:
// once, since it can be long, and while other repositories still wait.
func (r *run) itemDone(name string) error {
	r.mu.Lock()
	repo := r.repos[name]
	repo.pending--
	due := repo.pending == 0
	repo.listed = repo.listed || due
	r.mu.Unlock()
	if !due {
		return nil
	}
	return r.writeTagList(name)
}

// listAll writes the lists of those repositories that a run did not come to the
// end of, and the list for web servers that cannot tell where a link leads.
func (r *run) listAll() error {
	var errs []error
	for name, repo := range r.repos {
		if !repo.listed {
			errs = append(errs, r.writeTagList(name))
		}
	}
	return errors.Join(append(errs, r.writeTagMap())...)
}

// writeTagList makes tags/list say what the links of the repository say.
func (r *run) writeTagList(name string) error {
	if r.opts.DryRun {
		return nil
	}
	if _, err := r.tree.lstat(mirrortree.Tags(name)); err != nil {
		return nil // nothing of it was brought
	}
	tags, err := r.tree.tagsOf(name)
	if err != nil {
		return err
	}
	b, err := json.Marshal(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{name, tags})
	if err != nil {
		return fmt.Errorf("list the tags of %q: %w", name, err)
	}
	dirty := &dirs{}
	return errors.Join(r.tree.putIfOther(mirrortree.TagList(name), append(b, '\n'), dirty), r.tree.sync(dirty))
}

// writeTagMap makes the map of tags say what all links say.
func (r *run) writeTagMap() error {
	if r.opts.DryRun {
		return nil
	}
	names, err := r.tree.repositories()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, name := range names {
		tags, err := r.tree.tagsOf(name)
		if err != nil {
			return err
		}
		for _, tag := range tags {
			fmt.Fprintf(&b, "%s:%s %s\n", name, tag, r.tree.names(name, tag))
		}
	}
	dirty := &dirs{}
	return errors.Join(r.tree.putIfOther(mirrortree.TagMap, b.Bytes(), dirty), r.tree.sync(dirty))
}
