package extract

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/extract/resolve"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/transport"
)

// Rollback puts an earlier generation of a tree back and pins it, so that
// pulls leave it alone until Unpin. The same image in other layouts goes along. live may be empty where the directory has
// one tree only; to is a digest or a beginning of one, empty for the
// generation before the live one. Every file is hashed before it counts again;
// what is damaged is fetched by digest from where the tree came from.
func Rollback(ctx context.Context, c *transport.Client, o Options, live, to string) (*TreeReport, error) {
	s, err := Open(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	dir := s.dir
	cur, err := pickTree(dir, o.Dir, live)
	if err != nil {
		return nil, err
	}
	gen, err := pickGeneration(dir, cur, to)
	if err != nil {
		return nil, err
	}
	src := &lateSource{client: c, ref: cur.Reference}
	defer src.Close()
	t, err := (&resolve.Resolver{Source: src, Memory: dir, Reference: cur.Reference}).Recall(ctx, gen.Digest)
	if err != nil {
		return nil, fmt.Errorf("roll %q back: %w", cur.Live, err)
	}
	set, err := siblings(dir, cur)
	if err != nil {
		return nil, err
	}
	j := &job{src: src, meter: NewMeter(src), target: t, top: t.Descriptor, pin: true}
	for i := range set {
		pl, err := back(dir, &set[i], gen.Digest, t)
		if err != nil {
			return nil, err
		}
		j.places = append(j.places, pl)
	}
	p := s.placement(o)
	if err := p.apply(ctx, j); err != nil {
		return nil, err
	}
	if _, err := s.WriteMenus(p.reports); err != nil {
		return nil, err
	}
	return &p.reports[0], nil
}

// back is a tree that returns to an earlier generation.
func back(dir *bootdir.Dir, cur *bootdir.Tree, to string, t *resolve.Target) (*spot, error) {
	pl, err := again(cur)
	if err != nil {
		return nil, err
	}
	next := pl.next
	next.Digest, next.Created, next.Platform, next.Pinned = to, t.Created, t.PlatformName(), true
	next.Policy, next.Evidence = "", nil
	if was, err := dir.Image(to); err == nil && was != nil {
		next.Policy, next.Evidence = was.Policy, was.Evidence
	}
	// Not what the reference names now: once unpinned, the next pull must see
	// that something is left to do.
	next.TagDigest = to
	return pl, nil
}

// siblings lists a tree, first, and those that show the same image in other layouts.
func siblings(dir *bootdir.Dir, t *bootdir.Tree) ([]bootdir.Tree, error) {
	set := []bootdir.Tree{*t}
	if len(t.Selection.Layouts) == 0 {
		return set, nil
	}
	all, err := dir.Trees()
	for _, o := range all {
		if o.Live != t.Live && o.Reference == t.Reference && o.Release == t.Release && o.Platform == t.Platform && o.Digest == t.Digest &&
			slices.Equal(o.Selection.Layouts, t.Selection.Layouts) {
			set = append(set, o)
		}
	}
	return set, err
}

// Unpin lets a tree, with its siblings in other layouts, follow its reference again; the next pull brings it up to
// date. live may be empty where the directory has one tree only. It returns
// the tree's live path and whether it was pinned.
func Unpin(ctx context.Context, o Options, live string) (path string, was bool, err error) {
	dir, err := openDir(ctx, o)
	if err != nil {
		return "", false, err
	}
	defer dir.Close()
	t, err := pickTree(dir, o.Dir, live)
	if err != nil {
		return "", false, err
	}
	if !t.Pinned {
		return t.Live, false, nil
	}
	set, err := siblings(dir, t)
	if err != nil {
		return t.Live, false, err
	}
	for i := range set {
		set[i].Pinned = false
		if err := dir.UpdateTree(&set[i]); err != nil {
			return t.Live, true, err
		}
	}
	return t.Live, true, nil
}

// Prune removes the generations that neither o.Keep nor the grace time
// protects, and returns their digests. That a directory has
// neither trees nor something to remove is an error.
func Prune(ctx context.Context, o Options) ([]string, error) {
	dir, err := openDir(ctx, o)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	keep := o.Keep
	if keep == 0 {
		keep = bootdir.DefaultKeep
	}
	removed, err := dir.Prune(ctx, keep, bootdir.DefaultGrace)
	if err != nil || len(removed) > 0 {
		return removed, err
	}
	trees, err := dir.Trees()
	if err == nil && len(trees) == 0 {
		err = noTrees(o.Dir)
	}
	return nil, err
}

// pickTree finds the tree at a live path, or the only one.
func pickTree(dir *bootdir.Dir, name, live string) (*bootdir.Tree, error) {
	trees, err := dir.Trees()
	if err != nil {
		return nil, err
	}
	var paths []string
	for i := range trees {
		if trees[i].Live == live || live == "" && len(trees) == 1 {
			return &trees[i], nil
		}
		paths = append(paths, trees[i].Live)
	}
	switch {
	case len(trees) == 0:
		return nil, noTrees(name)
	case live == "":
		return nil, &usageError{msg: fmt.Sprintf("%q holds several boot trees", name), hint: "name one: " + strings.Join(paths, ", ")}
	}
	return nil, &notFoundError{msg: fmt.Sprintf("%q holds no boot tree %q", name, live), hint: "there are: " + strings.Join(paths, ", ")}
}

// pickGeneration finds the generation to go back to in a tree's history.
func pickGeneration(dir *bootdir.Dir, t *bootdir.Tree, to string) (bootdir.Generation, error) {
	hex := strings.TrimPrefix(to, "sha256:")
	var found []bootdir.Generation
	for _, g := range t.History {
		if g.Digest == t.Digest && to == "" {
			continue
		}
		if strings.HasPrefix(digest.Digest(g.Digest).Encoded(), hex) || g.Digest == to {
			found = append(found, g)
		}
	}
	switch {
	case len(found) == 0 && to == "":
		return bootdir.Generation{}, &notFoundError{msg: fmt.Sprintf("%q has no earlier generation", t.Live), hint: "nbextract status lists the generations of each tree"}
	case len(found) == 0:
		return bootdir.Generation{}, &notFoundError{msg: fmt.Sprintf("%q has no generation %q", t.Live, to), hint: "nbextract status lists the generations of each tree"}
	case len(found) > 1 && to != "" && found[0].Digest != found[1].Digest:
		return bootdir.Generation{}, &usageError{msg: fmt.Sprintf("several generations of %q begin with %q", t.Live, to)}
	}
	return found[0], nil
}
