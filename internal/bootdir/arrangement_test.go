//go:build linux

package bootdir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

// renamed says, for each tree of a set, what it shows under which name. A name that
// begins with "/" stands beside the tree. A nil map shows the image as it is.
type renamed map[string]map[string]string

// trees makes records with the arrangements; what the image lacks is left out.
func (r renamed) trees(img *Image) []*Tree {
	var trees []*Tree
	lives := []string{}
	for live := range r {
		lives = append(lives, live)
	}
	slices.Sort(lives)
	for _, live := range lives {
		t := &Tree{Live: live, Reference: "registry.example/boot:1", TagDigest: img.Digest}
		if r[live] != nil {
			t.Arrangement = arranged(img, r[live])
		}
		trees = append(trees, t)
	}
	return trees
}

func arranged(img *Image, names map[string]string) *Arrangement {
	entries, _ := completeEntries(img.Entries)
	a := &Arrangement{}
	for name, from := range names {
		var e spec.Entry
		if target, isLink := strings.CutPrefix(from, "-> "); isLink {
			e = spec.Entry{Type: spec.TypeSymlink, Target: target}
		} else if found, ok := findEntry(entries, from); ok {
			e = found
			e.Target = from
		} else {
			continue
		}
		beside := false
		if e.Path, beside = strings.CutPrefix(name, "/"); beside {
			a.Beside = append(a.Beside, e)
		} else {
			a.Entries = append(a.Entries, e)
		}
	}
	slices.SortFunc(a.Beside, func(x, y spec.Entry) int { return strings.Compare(x.Path, y.Path) })
	return a
}

// installSet makes several trees show one image, as a pull would.
func installSet(dir string, r renamed, tr tree, o Options) ([]Result, error) {
	ctx := context.Background()
	d, err := Open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	img := tr.image()
	trees, done := r.trees(img), true
	for _, t := range trees {
		cur, err := d.Tree(t.Live)
		if err != nil {
			return nil, err
		}
		if cur == nil || cur.Digest != img.Digest {
			done = false
			break
		}
		problems, err := d.Drift(ctx, cur, false)
		if err != nil {
			return nil, err
		}
		done = done && len(problems) == 0
	}
	if done {
		return nil, nil
	}
	s, err := d.Begin(ctx, trees[0].Live)
	if err != nil {
		return nil, err
	}
	defer s.Discard()
	if err := stageTree(s, tr); err != nil {
		return nil, err
	}
	return s.CommitAll(ctx, img, trees)
}

func installedSet(r renamed, tr tree) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		_, err := installSet(dir, r, tr, Options{})
		must(t, err)
	}
}

// several is one image as it is, once under other names, and with things beside it.
var several = renamed{
	live: nil,
	"other/1": {"linux": "vmlinuz", "efi/shimx64.efi": "efi/boot/shim.efi", "efi/boot.efi": "-> shimx64.efi", "only": "gone",
		"/shared/grub/linux": "vmlinuz", "/menu": "-> other/1/linux", "/was": "gone"},
}

func severalScenarios() []scenario {
	run := func(tr tree) func(string, Options) error {
		return func(dir string, o Options) error {
			_, err := installSet(dir, several, tr, o)
			return err
		}
	}
	return []scenario{
		{name: "several layouts", live: FlatLive, units: true, bare: true, setup: setups(), run: run(treeA)},
		{name: "several layouts updated", live: FlatLive, units: true, bare: true, run: run(treeB),
			setup: setups(installedSet(several, treeA), func(t testing.TB, dir string) { writeFile(t, dir+"/other/1/grub.cfg", "menu", 0o644) }),
			site:  map[string]string{"other/1/grub.cfg": "-rw-r--r-- menu"}},
		{name: "retire with things beside it", live: FlatLive, units: true, bare: true, setup: installedSet(several, treeA), run: retirer("other/1")},
	}
}

func TestArrangement(t *testing.T) {
	dir := t.TempDir()
	results, err := installSet(dir, several, treeA, Options{})
	must(t, err)
	if len(results) != 2 || !results[0].Changed || !results[1].Changed {
		t.Errorf("results: %+v", results)
	}
	at := func(p string) string { return filepath.Join(dir, p) }
	first := inode(t, at(live+"/vmlinuz"))
	for _, p := range []string{"other/1/linux", "shared/grub/linux", strings.TrimPrefix(generationDir("", treeA), "/") + "/vmlinuz"} {
		if inode(t, at(p)) != first {
			t.Errorf("%s is not the same inode", p)
		}
	}
	if readAll(t, at("menu")) != "kernel A" || readAll(t, at("other/1/efi/boot.efi")) != readAll(t, at(live+"/efi/boot/shim.efi")) {
		t.Error("links do not lead to the files")
	}
	if _, err := os.Lstat(at("other/1/SHA256SUM")); err == nil {
		t.Error("what the layout leaves out is there")
	}
	writeFile(t, at("other/1/grub.cfg"), "menu", 0o644)
	writeFile(t, at("shared/site"), "site", 0o644)
	before := readTime(t, at("other/1/linux"))
	_, err = installSet(dir, several, treeB, Options{})
	must(t, err)
	if readAll(t, at("menu")) != "kernel B" || readAll(t, at("shared/grub/linux")) != "kernel B" || readAll(t, at("other/1/grub.cfg")) != "menu" {
		t.Error("not updated")
	}
	if readTime(t, at("other/1/linux")) < before+1 {
		t.Error("the new file is not younger")
	}
	for _, p := range []string{"was", "other/1/only", live + "/gone"} {
		if _, err := os.Lstat(at(p)); err == nil {
			t.Errorf("%s is still there", p)
		}
	}
}

func readTime(t *testing.T, p string) int64 {
	t.Helper()
	info, err := os.Stat(p)
	must(t, err)
	return info.ModTime().Unix()
}

// TestArrangedTimes: a file that is older than what it replaces under another name
// gets a new time, on a copy where another tree shows it.
func TestArrangedTimes(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	o := Options{Now: func() time.Time { return now }}
	files := tree{"old": "first", "new": "second"}
	_, err := installSet(dir, renamed{"a": {"file": "old"}}, files, o)
	must(t, err)
	now = now.Add(-time.Hour) // the clock goes backwards
	next := tree{"old": "first", "new": "third"}
	_, err = installSet(dir, renamed{"a": {"file": "new"}, "b": nil}, next, o)
	must(t, err)
	if got := readTime(t, dir+"/a/file"); got < now.Add(time.Hour).Unix()+1 || readAll(t, dir+"/a/file") != "third" {
		t.Errorf("time %d", got)
	}
	_, err = installSet(dir, renamed{"a": {"file": "old"}, "b": nil}, tree{"old": "first"}, o)
	must(t, err)
	if got := readTime(t, dir+"/a/file"); got < now.Add(time.Hour).Unix()+2 || readAll(t, dir+"/a/file") != "first" {
		t.Errorf("time %d", got)
	}
}

// TestBesideTimes: the same for what stands beside a tree.
func TestBesideTimes(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	o := Options{Now: func() time.Time { return now }}
	before := now.Unix() - 1
	for _, step := range []struct {
		from string
		tree tree
	}{
		{"old", tree{"old": "first", "new": "second"}},
		{"new", tree{"old": "first", "new": "third"}}, // a file that nobody sees yet
		{"old", tree{"old": "first"}},                 // one that the tree shows
	} {
		_, err := installSet(dir, renamed{"a": {"x": "old", "/file": step.from}}, step.tree, o)
		must(t, err)
		if got := readTime(t, dir+"/file"); got <= before || readAll(t, dir+"/file") != step.tree[step.from] {
			t.Errorf("%+v: time %d after %d", step, got, before)
		}
		before = readTime(t, dir+"/file")
		now = now.Add(-time.Hour) // the clock goes backwards
	}
	if got := readTime(t, dir+"/a/x"); got >= before {
		t.Errorf("what stands in the tree got the time %d, too", got)
	}
}

func TestArrangementRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		r     renamed
		setup func(t *testing.T, dir string)
	}{
		"the site has the name":          {renamed{"a": {"f": "vmlinuz", "/menu": "vmlinuz"}}, func(t *testing.T, dir string) { writeFile(t, dir+"/menu", "the site's", 0o644) }},
		"the site has a directory there": {renamed{"a": {"f": "vmlinuz", "/menu": "vmlinuz"}}, func(t *testing.T, dir string) { writeFile(t, dir+"/menu/f", "the site's", 0o644) }},
		"a link above":                   {renamed{"a": {"f": "vmlinuz", "/sub/menu": "vmlinuz"}}, func(t *testing.T, dir string) { must(t, os.Symlink("/tmp", dir+"/sub")) }},
		"another tree is there": {renamed{"a": {"f": "vmlinuz", "/fedora/40/amd64/x": "vmlinuz"}},
			func(t *testing.T, dir string) { mustInstall(t, dir, live, ModeDir, treeB, Options{}) }},
		"one in another":       {renamed{"a": nil, "b": {"f": "vmlinuz", "/a/x": "vmlinuz"}}, nil},
		"the same path twice":  {renamed{"a": {"f": "vmlinuz", "/x": "vmlinuz"}, "b": {"f": "vmlinuz", "/x": "vmlinuz"}}, nil},
		"inside itself":        {renamed{"a": {"f": "vmlinuz", "/a/x": "vmlinuz"}}, nil},
		"beside a flat tree":   {renamed{FlatLive: {"f": "vmlinuz", "/x": "vmlinuz"}}, nil},
		"a hidden name":        {renamed{"a": {"f": "vmlinuz", "/.x/y": "vmlinuz"}}, nil},
		"a link that goes out": {renamed{"a": {"f": "vmlinuz", "/x": "-> ../../etc/passwd"}}, nil},
	} {
		dir := filepath.Join(t.TempDir(), "boot")
		if tc.setup != nil {
			must(t, os.Mkdir(dir, 0o755))
			tc.setup(t, dir)
		}
		before := snapshot(t, dir)
		if _, err := installSet(dir, tc.r, treeA, Options{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		after := snapshot(t, dir)
		delete(before, ".")
		delete(after, ".")
		if len(before) != len(after) {
			t.Errorf("%s: %s\nbecame\n%s", name, describe(before), describe(after))
		}
	}
}

func TestArrangementDrift(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(dir string) error
		want  Problem
	}{
		"none":            {func(string) error { return nil }, Problem{}},
		"beside missing":  {func(dir string) error { return os.Remove(dir + "/menu") }, Problem{"/menu", Missing}},
		"beside replaced": {func(dir string) error { return replaceWith(dir+"/shared/grub/linux", "kernel X") }, Problem{"/shared/grub/linux", WrongBytes}},
		"beside another":  {func(dir string) error { return replaceWith(dir+"/shared/grub/linux", "x") }, Problem{"/shared/grub/linux", WrongSize}},
		"link elsewhere": {func(dir string) error {
			return errors.Join(os.Remove(dir+"/menu"), os.Symlink("shared", dir+"/menu"))
		}, Problem{"/menu", WrongTarget}},
		"below": {func(dir string) error { return os.Remove(dir + "/other/1/linux") }, Problem{"linux", Missing}},
	} {
		dir := t.TempDir()
		_, err := installSet(dir, several, treeA, Options{})
		must(t, err)
		must(t, tc.spoil(dir))
		d, err := View(dir)
		must(t, err)
		record, err := d.Tree("other/1")
		must(t, err)
		problems, err := d.Drift(context.Background(), record, false)
		must(t, err)
		d.Close()
		if tc.want == (Problem{}) && len(problems) > 0 || tc.want != (Problem{}) && !slices.Contains(problems, tc.want) {
			t.Errorf("%s: %v", name, problems)
		}
		_, err = installSet(dir, several, treeA, Options{})
		must(t, err)
		if readAll(t, dir+"/menu") != "kernel A" || readAll(t, dir+"/shared/grub/linux") != "kernel A" {
			t.Errorf("%s: not repaired", name)
		}
	}
}

func replaceWith(p, content string) error {
	return errors.Join(os.WriteFile(p+".new", []byte(content), 0o444), os.Rename(p+".new", p))
}

// TestFlatBesideOthers: the flat layout has only its own names at the top.
func TestFlatBesideOthers(t *testing.T) {
	dir := t.TempDir()
	_, err := installSet(dir, renamed{FlatLive: nil, "fedora/40/amd64": nil}, treeA, Options{})
	must(t, err)
	if inode(t, dir+"/vmlinuz") != inode(t, dir+"/fedora/40/amd64/vmlinuz") {
		t.Error("not one inode")
	}
	if _, err := installSet(dir, renamed{"efi/x": nil}, treeB, Options{}); err == nil {
		t.Error("a tree inside a directory of the flat one is accepted")
	}
	must(t, retirer(FlatLive)(dir, Options{}))
	if _, err := unixStat(dir + "/vmlinuz"); err == nil {
		t.Error("the flat tree is still there")
	}
	if readAll(t, dir+"/fedora/40/amd64/vmlinuz") != "kernel A" {
		t.Error("the other tree went with it")
	}
}

func unixStat(p string) (st unix.Stat_t, err error) { return st, unix.Lstat(p, &st) }
