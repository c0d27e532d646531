//go:build linux

package bootdir

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

func menusOf(content string) []Generated {
	return []Generated{{Path: "grub/grub.cfg", Content: []byte(content)}, {Path: "menus/deep/x", Content: []byte("x " + content)},
		{Path: "pxelinux.0", Target: "by-digest/" + content, Yield: true}}
}

func generate(dir string, files []Generated, o Options) ([]string, error) {
	d, err := Open(context.Background(), dir, o)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Generate(files)
}

func TestGenerate(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	changed, err := generate(dir, menusOf("one"), Options{})
	must(t, err)
	if len(changed) != 3 || readAll(t, dir+"/grub/grub.cfg") != "one" {
		t.Errorf("%q", changed)
	}
	info, err := os.Stat(dir + "/grub/grub.cfg")
	must(t, err)
	if info.Mode() != fileMode {
		t.Errorf("mode %v", info.Mode())
	}
	first := inode(t, dir+"/grub/grub.cfg")
	if changed, err = generate(dir, menusOf("one"), Options{}); err != nil || len(changed) > 0 || inode(t, dir+"/grub/grub.cfg") != first {
		t.Errorf("again: %q %v", changed, err)
	}
	if changed, err = generate(dir, menusOf("two"), Options{}); err != nil || len(changed) != 3 || readAll(t, dir+"/grub/grub.cfg") != "two" {
		t.Errorf("%q %v", changed, err)
	}
	must(t, os.Remove(dir+"/grub/grub.cfg"))
	if changed, err = generate(dir, menusOf("two"), Options{}); err != nil || !slices.Equal(changed, []string{"grub/grub.cfg"}) {
		t.Errorf("what is missing comes back: %q %v", changed, err)
	}
	if changed, err = generate(dir, menusOf("two")[:1], Options{}); err != nil || len(changed) != 2 {
		t.Errorf("%q %v", changed, err)
	}
	if _, err := os.Lstat(dir + "/menus"); err == nil {
		t.Error("an empty directory is left")
	}
	_, err = generate(dir, nil, Options{})
	must(t, err)
	for _, p := range []string{"grub", stateName + "/" + generatedName} {
		if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
			t.Errorf("%s is left", p)
		}
	}
}

// TestGenerateSparesTheSite: what nbextract did not write, or what was changed since,
// is refused before anything is written.
func TestGenerateSparesTheSite(t *testing.T) {
	for name, spoil := range map[string]func(dir string){
		"a file": func(dir string) { writeFile(t, dir+"/menus/deep/x", "mine", 0o644) },
		"a link": func(dir string) {
			must(t, os.MkdirAll(dir+"/grub", 0o755))
			must(t, os.Symlink("x", dir+"/grub/grub.cfg"))
		},
		"a directory": func(dir string) { must(t, os.MkdirAll(dir+"/grub/grub.cfg", 0o755)) },
		"a parent":    func(dir string) { must(t, os.Symlink("/tmp", dir+"/grub")) },
		"changed": func(dir string) {
			must(t, errors.Join(os.MkdirAll(dir+"/grub", 0o755), replaceWith(dir+"/grub/grub.cfg", "mine")))
		},
	} {
		for _, before := range []string{"", "one"} {
			dir := t.TempDir()
			mustInstall(t, dir, live, ModeDir, treeA, Options{})
			if before != "" && name != "changed" {
				continue
			}
			if before != "" {
				_, err := generate(dir, menusOf(before), Options{})
				must(t, err)
			}
			spoil(dir)
			shot := snapshot(t, dir)
			_, err := generate(dir, menusOf("two"), Options{})
			var refused *spec.Refusal
			if !errors.As(err, &refused) || refused.ExitCode() != 3 {
				t.Errorf("%s: %v", name, err)
			}
			if got := snapshot(t, dir); !maps.Equal(got, shot) {
				t.Errorf("%s: %s", name, describe(got))
			}
			if before != "" { // and it is not removed either
				_, err := generate(dir, nil, Options{})
				must(t, err)
				if readAll(t, dir+"/grub/grub.cfg") != "mine" {
					t.Errorf("%s: removed", name)
				}
			}
		}
	}
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	writeFile(t, dir+"/pxelinux.0", "the site's loader", 0o644)
	changed, err := generate(dir, menusOf("one"), Options{})
	if err != nil || len(changed) != 2 || readAll(t, dir+"/pxelinux.0") != "the site's loader" {
		t.Errorf("%q %v", changed, err)
	}
	if _, err := generate(dir, []Generated{{Path: live + "/menu", Content: []byte("x")}}, Options{}); err == nil {
		t.Error("a file in a tree is accepted")
	}
	if _, err := generate(dir, []Generated{{Path: ".nbextract/menu", Content: []byte("x")}}, Options{}); err == nil {
		t.Error("a hidden path is accepted")
	}
}

// TestGenerateOddRoutes: images choose where some files go. Those that have no place
// are left out, and keep no others from being written, then or later.
func TestGenerateOddRoutes(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, live, ModeDir, treeA, Options{})
	files := []Generated{{Path: "boot.ipxe", Content: []byte("menu")}}
	for _, p := range []string{"boot.ipxe/grub/grub.cfg", ".x/grub/grub.cfg", "by-digest/grub/grub.cfg", live + "/grub/grub.cfg", "ok/grub/grub.cfg"} {
		files = append(files, Generated{Path: p, Content: []byte("route"), Yield: true})
	}
	for _, want := range []int{2, 0} {
		if changed, err := generate(dir, files, Options{}); err != nil || len(changed) != want {
			t.Errorf("%q %v", changed, err)
		}
	}
	if readAll(t, dir+"/boot.ipxe") != "menu" {
		t.Error("no menu")
	}
}

// TestGenerateForgets: a file whose directory the site has replaced is forgotten, and
// nothing behind a link is touched.
func TestGenerateForgets(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a link": func(dir string) error { return os.Symlink("site", dir+"/menus") },
		"a file": func(dir string) error { return os.WriteFile(dir+"/menus", []byte("mine"), 0o644) },
	} {
		dir := t.TempDir()
		mustInstall(t, dir, live, ModeDir, treeA, Options{})
		_, err := generate(dir, menusOf("one"), Options{})
		must(t, err)
		must(t, os.Rename(dir+"/menus", dir+"/site"))
		must(t, spoil(dir))
		for range 2 {
			if _, err := generate(dir, menusOf("one")[:1], Options{}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if readAll(t, dir+"/site/deep/x") != "x one" || readAll(t, dir+"/grub/grub.cfg") != "one" {
			t.Errorf("%s: something else was changed", name)
		}
	}
}

// TestGenerateCutOff ends a run at every step; the next one completes it.
func TestGenerateCutOff(t *testing.T) {
	for _, next := range [][]Generated{menusOf("two"), menusOf("two")[:1], nil} {
		steps := 0
		base := quickDir(t)
		setup := func(dir string) {
			mustInstall(t, dir, live, ModeDir, tree{"k": "k"}, Options{})
			_, err := generate(dir, menusOf("one"), Options{})
			must(t, err)
		}
		dir := filepath.Join(base, "measure")
		setup(dir)
		_, err := generate(dir, next, Options{hook: func(string, string) error { steps++; return nil }})
		must(t, err)
		want := snapshot(t, dir)
		for n := 1; n <= steps; n++ {
			for _, f := range faults {
				dir := filepath.Join(base, "cut")
				setup(dir)
				hook, hit := f.at(n)
				_, first := generate(dir, next, Options{hook: hook})
				if _, err := generate(dir, next, Options{}); err != nil {
					t.Fatalf("%s at %s (%v): the next run: %v", f.name, *hit, first, err)
				}
				if got := snapshot(t, dir); !maps.Equal(got, want) {
					t.Fatalf("%s at %s: %s", f.name, *hit, describe(got))
				}
				if left := leftovers(t, dir); len(left) > 0 {
					t.Fatalf("%s at %s: left %q", f.name, *hit, left)
				}
				must(t, os.RemoveAll(dir))
			}
		}
	}
}

func FuzzGeneratedRecord(f *testing.F) {
	f.Add([]byte(`{"files":[{"path":"grub/grub.cfg","sum":"x","next":"y"}]}`))
	f.Add([]byte(`{"files":[{"path":"../x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &generatedRecord{}
		if decodeRecord(b, r, r.check) != nil {
			return
		}
		for _, file := range r.Files {
			if strings.Contains("/"+file.Path+"/", "/../") || strings.HasPrefix(file.Path, "/") {
				t.Errorf("accepted %q", file.Path)
			}
		}
	})
}
