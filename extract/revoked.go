package extract

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"syscall"

	"github.com/opencontainers/go-digest"

	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/spec"
)

// refuseRevoked compares the SBAT generations of the EFI programs in a stage, which
// are proved by now, with those of the tree that they would replace. A lower one is
// a program that was revoked since: Secure Boot may not know that yet, so a signed
// old shim is a way around everything behind it. It is a downgrade like that of an
// older image, whatever the times of both say.
func (p *Placement) refuseRevoked(pl *spot, entries []spec.Entry, stage string) error {
	if pl.cur == nil || p.opts.AllowDowngrade || pl.cur.Reference != pl.next.Reference || pl.cur.Release != p.opts.Release || pl.cur.Digest == pl.next.Digest {
		return nil
	}
	installed := recorded(p.dir, pl.cur)
	if sameContent(programs(installed), programs(entries)) {
		return nil
	}
	was, err := readPrograms(p.dir.Path(), installedPlaces(pl.cur, programs(installed)))
	if err != nil {
		return fmt.Errorf("compare with what is installed: %w", err)
	}
	if len(was) == 0 {
		return nil
	}
	staged := map[string][]string{}
	for at := range programs(entries) {
		staged[at] = []string{at}
	}
	now, err := readPrograms(stage, staged)
	if err != nil {
		return err
	}
	return compareGenerations(was, now)
}

// installedPlaces gives, below the boot directory, where each program of a tree may be
// found by its path in the image: in its generation, and where that has lost it, wherever
// the tree shows it, under whatever name.
func installedPlaces(t *bootdir.Tree, list map[string]string) map[string][]string {
	places := map[string][]string{}
	for at := range list {
		places[at] = []string{path.Join("by-digest", digest.Digest(t.Digest).Encoded(), at)}
		if t.Arrangement == nil {
			places[at] = append(places[at], path.Join(t.Live, at))
		}
	}
	add := func(e spec.Entry, place string) {
		if from := bootdir.SourceOf(e); e.Type == spec.TypeFile && places[from] != nil {
			places[from] = append(places[from], place)
		}
	}
	if a := t.Arrangement; a != nil {
		for _, e := range a.Entries {
			add(e, path.Join(t.Live, e.Path))
		}
		for _, e := range a.Beside {
			add(e, e.Path)
		}
	}
	return places
}

// programs gives the EFI programs of a tree: path → SHA-256.
func programs(entries []spec.Entry) map[string]string {
	list := map[string]string{}
	for _, e := range entries {
		if (e.Type == spec.TypeFile || e.Type == spec.TypeHardlink) && bootcheck.Program(e.Path) {
			list[e.Path] = e.SHA256
		}
	}
	return list
}

// sameContent says that no program is new or changed: then nothing has to be read.
func sameContent(was, now map[string]string) bool {
	for path, sum := range now {
		if sum == "" || was[path] != sum {
			return false
		}
	}
	return true
}

// readPrograms reads the generations of programs, each at the first of its places below
// a directory that has it. What is gone, or is no EFI program, is left out.
func readPrograms(dir string, list map[string][]string) (map[string]map[string]int, error) {
	found := map[string]map[string]int{}
	root, err := os.OpenRoot(dir)
	if os.IsNotExist(err) {
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, name := range slices.Sorted(maps.Keys(list)) {
		for _, place := range list[name] {
			g, err := readProgram(root, place)
			if err != nil {
				return nil, err
			}
			if g != nil {
				found[name] = g
				break
			}
		}
	}
	return found, nil
}

func readProgram(root *os.Root, at string) (map[string]int, error) {
	// What lies there may have been replaced by something that waits when opened.
	if info, err := root.Lstat(at); err != nil || info.Mode().Type() != 0 {
		if err == nil || os.IsNotExist(err) || errors.Is(err, syscall.ENOTDIR) {
			return nil, nil
		}
		return nil, err
	}
	f, err := root.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g, err := bootcheck.Generations(f)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: at, Err: err}
	}
	return g, nil
}

// compareGenerations compares a program with the one of the same name, and where
// there was none, with the lowest of the tree: that the tree had a program of this
// generation in another place is no step back.
func compareGenerations(was, now map[string]map[string]int) error {
	lowest := map[string]int{}
	for _, g := range was {
		for component, n := range g {
			if have, ok := lowest[component]; !ok || n < have {
				lowest[component] = n
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(now)) {
		before, same := was[path]
		if !same {
			before = lowest
		} else if len(before) > 0 && len(now[path]) == 0 {
			return stepBack(path, "it has no SBAT generations, and the installed one has %d", len(before))
		}
		for _, component := range slices.Sorted(maps.Keys(now[path])) {
			if n := now[path][component]; n < before[component] {
				return stepBack(path, "it is of SBAT generation %d of %q, and %d is installed", n, component, before[component])
			}
		}
	}
	return nil
}

func stepBack(path, format string, a ...any) error {
	r := spec.Refuse(spec.RuleDowngrade, path, format, a...)
	r.Advice = "programs of lower generations were revoked; if this step back is wanted, pull with --allow-downgrade"
	return r
}
