//go:build linux

package bootdir

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scenario is one thing that a run does, to be cut off at every step.
type scenario struct {
	name  string
	live  string
	setup func(t testing.TB, dir string)    // the state before, made without faults
	run   func(dir string, o Options) error // the run under test; running it again must converge
	units bool                              // several units: each is old or new
	bare  bool                              // with units: directories that lead to them come and go on their own
	gap   bool                              // the live path may be absent for a moment
	site  map[string]string                 // the site's files below the live path, which must never change
	after func(t testing.TB, dir string)    // more to hold at the end
}

func installer(live string, mode LiveMode, tr tree) func(string, Options) error {
	return func(dir string, o Options) error {
		_, err := install(dir, live, mode, tr, o)
		return err
	}
}

func setups(steps ...func(t testing.TB, dir string)) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		for _, s := range steps {
			s(t, dir)
		}
	}
}

func installed(live string, mode LiveMode, tr tree) func(testing.TB, string) {
	return func(t testing.TB, dir string) { mustInstall(t, dir, live, mode, tr, Options{}) }
}

// addStrangers puts every kind of a site's thing into a live tree.
func addStrangers(live string) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		at := filepath.Join(dir, live)
		writeFile(t, at+"/efi/grub.cfg", "menu of the site", 0o640)
		writeFile(t, at+"/efi/boot/x64/deep", "deep", 0o600)
		writeFile(t, at+"/old/only/site", "in a directory that goes away", 0o644)
		must(t, os.MkdirAll(at+"/efi/private", 0o755))
		must(t, unix.Chmod(at+"/efi/private", 0o2750))
		must(t, os.Chmod(at+"/efi", 0o711))
		must(t, os.Symlink("grub.cfg", at+"/efi/menu"))
		must(t, os.Symlink("/nowhere", at+"/efi/dangling"))
		must(t, unix.Mkfifo(at+"/efi/pipe", 0o622))
		must(t, os.Chmod(at+"/efi/pipe", 0o622))
	}
}

var strangers = map[string]string{"efi/grub.cfg": "-rw-r----- menu of the site", "efi/boot/x64/deep": "-rw------- deep",
	"old/only/site": "-rw-r--r-- in a directory that goes away", "efi/private": "dgrwxr-x---", "efi": "drwx--x--x",
	"efi/menu": "Lrwxrwxrwx -> grub.cfg", "efi/dangling": "Lrwxrwxrwx -> /nowhere", "efi/pipe": "prw--w--w-"}

func truncated(live, p string) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		file := filepath.Join(dir, live, p)
		must(t, os.Chmod(file, 0o644))
		must(t, os.Truncate(file, 3))
	}
}

// simple plays a file system that has neither flag of renameat2.
func simple(o Options) Options {
	inner := o.hook
	o.hook = func(op, path string) error {
		if inner != nil {
			if err := inner(op, path); err != nil {
				return err
			}
		}
		if op == "exchange" || op == "rename-new" {
			return unix.EINVAL
		}
		return nil
	}
	return o
}

// linkless plays a file system that refuses the hard links of strangers.
func linkless(o Options) Options {
	inner := o.hook
	o.hook = func(op, p string) error {
		if inner != nil {
			if err := inner(op, p); err != nil {
				return err
			}
		}
		if op == "link" && strings.Contains(p, "/"+stagedLive+"/") {
			return unix.EPERM
		}
		return nil
	}
	return o
}

func pruneAll(dir string, o Options) error {
	o.Keep, o.Grace = 1, time.Nanosecond
	ctx := context.Background()
	d, err := Open(ctx, dir, o)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = d.Prune(ctx, 1, time.Nanosecond)
	return err
}

// openOnly is the cheapest run: it only repairs what another left.
func openOnly(dir string) error {
	d, err := Open(context.Background(), dir, Options{})
	if err != nil {
		return err
	}
	return d.Close()
}

func onlyGeneration(tr tree) func(testing.TB, string) {
	return func(t testing.TB, dir string) {
		names, err := filepath.Glob(filepath.Join(dir, generationsName, "*"))
		must(t, err)
		if len(names) != 1 || names[0] != generationDir(dir, tr) {
			t.Errorf("generations: %q", names)
		}
		images, err := filepath.Glob(filepath.Join(dir, stateName, imagesName, "*"))
		must(t, err)
		if len(images) != 1 {
			t.Errorf("records: %q", images)
		}
	}
}

var flatA = tree{"vmlinuz": "A", "initrd.img": "both", "gone": "A", "shim.efi": "shim A", "BOOT": "-> shim.efi",
	"BOOT.efi": "-> shim.efi", "efi/grub.efi": "A", "efi/same": "same", "olddir/file": "A", "samedir/file": "same"}

var flatB = tree{"vmlinuz": "B", "initrd.img": "both", "new": "B", "shim2.efi": "shim B", "BOOT": "-> shim2.efi",
	"BOOT.efi": "-> shim2.efi", "efi/grub.efi": "B", "efi/same": "same", "newdir/file": "B", "samedir/file": "same"}

func scenarios() []scenario {
	return []scenario{
		{name: "first install", live: live, setup: setups(), run: installer(live, ModeDir, treeA)},
		{name: "adoption", live: live, run: installer(live, ModeDir, treeA), site: strangers,
			setup: setups(addStrangers(live), func(t testing.TB, dir string) {
				writeFile(t, filepath.Join(dir, live, "vmlinuz"), "kernel A", 0o644)
				must(t, os.Symlink("shim.efi", filepath.Join(dir, live, "efi/boot/BOOT")))
			})},
		{name: "update", live: live, setup: installed(live, ModeDir, treeA), run: installer(live, ModeDir, treeB)},
		{name: "update with strangers", live: live, site: strangers, run: installer(live, ModeDir, treeB),
			setup: setups(installed(live, ModeDir, treeA), addStrangers(live))},
		{name: "no-op", live: live, setup: installed(live, ModeDir, treeA), run: installer(live, ModeDir, treeA)},
		{name: "rollback", live: live, run: installer(live, ModeDir, treeA),
			setup: setups(installed(live, ModeDir, treeA), installed(live, ModeDir, treeB))},
		{name: "update and prune", live: live, after: onlyGeneration(treeB),
			setup: setups(installed(live, ModeDir, treeA)),
			run: func(dir string, o Options) error {
				o.Keep, o.Grace = 1, time.Nanosecond
				if _, err := install(dir, live, ModeDir, treeB, o); err != nil {
					return err
				}
				return pruneAll(dir, o)
			}},
		{name: "prune", live: live, run: pruneAll, after: onlyGeneration(treeB),
			setup: setups(installed(live, ModeDir, treeA), installed(live, ModeDir, treeB))},
		{name: "repair", live: live, run: installer(live, ModeDir, treeB),
			setup: setups(installed(live, ModeDir, treeA), installed(live, ModeDir, treeB), truncated(live, "initrd.img"))},
		{name: "other modes", live: live, run: func(dir string, o Options) error {
			_, err := wearing(live, ModeDir, treeA, &Attributes{Files: 0o440, Dirs: 0o750})(dir, o)
			return err
		}, setup: installed(live, ModeDir, treeA)},
		{name: "resumed install", live: live, setup: setups(interrupted(live, treeA, 9)), run: resumer(live, treeA)},
		{name: "resumed update", live: live, run: resumer(live, treeB),
			setup: setups(installed(live, ModeDir, treeA), interrupted(live, treeB, 14))},
		{name: "resumed flat update", live: FlatLive, units: true, run: resumer(FlatLive, flatB),
			setup: setups(installed(FlatLive, ModeDir, flatA), interrupted(FlatLive, flatB, 5))},
		{name: "retire", live: live, run: retirer(live), setup: installed(live, ModeDir, treeA), after: nothingLeft},
		{name: "retire one of two", live: live, run: retirer(live), after: onlyGeneration(treeB),
			setup: setups(installed(live, ModeDir, treeA), installed("other/1", ModeDir, treeB))},
		{name: "retire a link", live: live, run: retirer(live), setup: installed(live, ModeLink, treeA), after: nothingLeft},
		{name: "retire flat", live: FlatLive, units: true, run: retirer(FlatLive), setup: installed(FlatLive, ModeDir, flatA)},
		{name: "link install", live: live, setup: setups(), run: installer(live, ModeLink, treeA)},
		{name: "link update", live: live, setup: installed(live, ModeLink, treeA), run: installer(live, ModeLink, treeB)},
		{name: "link repair", live: live, run: installer(live, ModeLink, treeA),
			setup: setups(installed(live, ModeLink, treeA), truncated(live, "initrd.img"))},
		{name: "directory to link", live: live, setup: installed(live, ModeDir, treeA), run: installer(live, ModeLink, treeB)},
		{name: "link to directory", live: live, setup: installed(live, ModeLink, treeA), run: installer(live, ModeDir, treeB)},
		{name: "update by copies", live: live, site: strangers,
			setup: setups(installed(live, ModeDir, treeA), addStrangers(live)),
			run:   func(dir string, o Options) error { return installer(live, ModeDir, treeB)(dir, linkless(o)) }},
		{name: "link update without exchange", live: live, setup: installed(live, ModeLink, treeA),
			run: func(dir string, o Options) error { return installer(live, ModeLink, treeB)(dir, simple(o)) }},
		{name: "directory with a gap", live: live, gap: true,
			setup: setups(installed(live, ModeDir, treeA), addStrangers(live)),
			run: func(dir string, o Options) error {
				o.AllowGap = true
				return installer(live, ModeDir, treeB)(dir, simple(o))
			}},
		{name: "flat install", live: FlatLive, units: true, setup: setups(), run: installer(FlatLive, ModeDir, flatA)},
		{name: "flat update", live: FlatLive, units: true, run: installer(FlatLive, ModeDir, flatB),
			site: map[string]string{"pxelinux.cfg": "drwxr-xr-x", "pxelinux.cfg/default": "-rw-r--r-- menu",
				"efi/grub.cfg": "-rw-r--r-- menu", "olddir/site": "-rw-r--r-- kept"},
			setup: setups(installed(FlatLive, ModeDir, flatA), func(t testing.TB, dir string) {
				writeFile(t, dir+"/pxelinux.cfg/default", "menu", 0o644)
				writeFile(t, dir+"/efi/grub.cfg", "menu", 0o644)
				writeFile(t, dir+"/olddir/site", "kept", 0o644)
			})},
	}
}

// outcome is the visible tree before and after a scenario without faults.
type outcome struct{ old, new map[string]string }

// checkVisible fails unless the tree is wholly old or wholly new, and the
// site's files are there.
func (s scenario) checkVisible(t testing.TB, dir string, o outcome) {
	t.Helper()
	got := visible(t, dir, s.live)
	for p, want := range s.site {
		if got[p] != want {
			t.Errorf("the site's %s is %q, want %q", p, got[p], want)
		}
	}
	if s.bare {
		got, o = withoutDirs(got), outcome{withoutDirs(o.old), withoutDirs(o.new)}
	}
	if s.units {
		for unit, part := range byUnit(got, o.old, o.new) {
			if !maps.Equal(part[0], part[1]) && !maps.Equal(part[0], part[2]) {
				t.Errorf("unit %s is neither old nor new: %q", unit, part[0])
			}
		}
		return
	}
	if s.gap && len(got) == 0 {
		return
	}
	if !maps.Equal(got, o.old) && !maps.Equal(got, o.new) {
		t.Errorf("neither old nor new:\n%s", describe(got))
	}
}

func withoutDirs(shot map[string]string) map[string]string {
	files := maps.Clone(shot)
	maps.DeleteFunc(files, func(_, what string) bool { return strings.HasPrefix(what, "d") })
	return files
}

// byUnit splits snapshots by their first element.
func byUnit(shots ...map[string]string) map[string][]map[string]string {
	units := map[string][]map[string]string{}
	for i, shot := range shots {
		for p, what := range shot {
			top, _, _ := strings.Cut(p, "/")
			if units[top] == nil {
				units[top] = make([]map[string]string, len(shots))
			}
			if units[top][i] == nil {
				units[top][i] = map[string]string{}
			}
			units[top][i][p] = what
		}
	}
	return units
}

func describe(shot map[string]string) string {
	var b strings.Builder
	for _, p := range slices.Sorted(maps.Keys(shot)) {
		fmt.Fprintf(&b, "  %s %q\n", p, shot[p])
	}
	return b.String()
}

// checkConverged fails unless the run left exactly the new tree and nothing
// else, with a record that agrees.
func (s scenario) checkConverged(t testing.TB, dir string, o outcome) {
	t.Helper()
	if got := visible(t, dir, s.live); !maps.Equal(got, o.new) {
		t.Errorf("did not converge:\n%swant\n%s", describe(got), describe(o.new))
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	d, err := View(dir)
	must(t, err)
	defer d.Close()
	trees, err := d.Trees()
	must(t, err)
	for i := range trees {
		problems, err := d.Drift(context.Background(), &trees[i], true)
		if err != nil || len(problems) > 0 {
			t.Errorf("drift: %v %v", problems, err)
		}
		for _, g := range trees[i].History {
			if !d.HasGeneration(g.Digest) {
				t.Errorf("generation %s is gone", g.Digest)
			}
		}
	}
	if s.after != nil {
		s.after(t, dir)
	}
}
