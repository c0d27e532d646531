//go:build linux

package bootdir

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseAttributes(t *testing.T) {
	id := func(n uint32) *uint32 { return &n }
	for _, tc := range []struct {
		chown, chmod, label string
		want                *Attributes
		wrong               string
	}{
		{want: nil},
		{chown: "0", want: &Attributes{UID: id(0)}},
		{chown: "12:34", want: &Attributes{UID: id(12), GID: id(34)}},
		{chown: ":34", want: &Attributes{GID: id(34)}},
		{chown: "root:root", want: &Attributes{UID: id(0), GID: id(0)}},
		{chmod: "F440", want: &Attributes{Files: 0o440}},
		{chmod: "D2750,F0640", want: &Attributes{Files: 0o640, Dirs: 0o2750}},
		{label: "tftpdir_t", want: &Attributes{Label: "tftpdir_t"}},
		{label: "system_u:object_r:tftpdir_t:s0:c1,c2", want: &Attributes{Label: "system_u:object_r:tftpdir_t:s0:c1,c2"}},

		{chown: ":", wrong: "is not USER"},
		{chown: "12:", wrong: "is not USER"},
		{chown: "no-such-user-here", wrong: "knows no user"},
		{chown: ":no-such-group-here", wrong: "knows no group"},
		{chown: "4294967295", wrong: "no number"},
		{chmod: "0755", wrong: "nobody executes"},
		{chmod: "F4444", wrong: "nobody executes"},
		{chmod: "F0446", wrong: "others do not write"},
		{chmod: "F0044", wrong: "the owner reads"},
		{chmod: "D0777", wrong: "others do not write"},
		{chmod: "D0600", wrong: "enters"},
		{chmod: "D4755", wrong: "others do not write"},
		{chmod: "DF444", wrong: "is not octal"},
		{chmod: "u+w", wrong: "is not octal"},
		{chmod: "D755,", wrong: "is not octal"},
		{chmod: "F0", wrong: "is not octal"},
		{label: "a b", wrong: "is no SELinux label"},
		{label: "a:b", wrong: "neither a type"},
		{label: "a:b:c", wrong: "neither a type"},
		{label: "a::c:d", wrong: "neither a type"},
	} {
		got, err := ParseAttributes(tc.chown, tc.chmod, tc.label)
		if tc.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wrong) {
				t.Errorf("%+v: %v", tc, err)
			}
			continue
		}
		if err != nil || !got.Equal(tc.want) || (got == nil) != (tc.want == nil) {
			t.Errorf("%+v: %+v, %v", tc, got, err)
		}
	}
}

func TestAttributesOver(t *testing.T) {
	one, two := uint32(1), uint32(2)
	base := &Attributes{UID: &one, Files: 0o440, Label: "a"}
	for _, tc := range []struct{ a, base, want *Attributes }{
		{nil, nil, nil},
		{nil, base, base},
		{base, nil, base},
		{&Attributes{UID: &two, Dirs: 0o750}, base, &Attributes{UID: &two, Files: 0o440, Dirs: 0o750, Label: "a"}},
	} {
		if got := tc.a.Over(tc.base); !got.Equal(tc.want) {
			t.Errorf("%+v over %+v: %+v", tc.a, tc.base, got)
		}
	}
	if (*Attributes)(nil).Equal(base) || !(*Attributes)(nil).Equal(&Attributes{}) {
		t.Error("nil is not what asks for nothing")
	}
}

// wear installs a tree with attributes, as a pull would.
func wear(t *testing.T, dir, live string, mode LiveMode, tr tree, a *Attributes) Result {
	t.Helper()
	r, err := wearing(live, mode, tr, a)(dir, Options{})
	must(t, err)
	return r
}

func wearing(live string, mode LiveMode, tr tree, a *Attributes) func(string, Options) (Result, error) {
	return func(dir string, o Options) (Result, error) {
		d, err := Open(context.Background(), dir, o)
		if err != nil {
			return Result{}, err
		}
		defer d.Close()
		s, err := d.Begin(context.Background(), live)
		if err != nil {
			return Result{}, err
		}
		defer s.Discard()
		if err := errors.Join(s.Wear(a), stageTree(s, tr)); err != nil {
			return Result{}, err
		}
		img := tr.image()
		return s.Commit(context.Background(), img, &Tree{Reference: "registry.example/boot:1", TagDigest: img.Digest, Mode: mode})
	}
}

// TestWearModes: files and directories get the modes that are asked for, whatever else
// shares their content, and keep them across updates.
func TestWearModes(t *testing.T) {
	dir := t.TempDir()
	tr := tree{"efi/shim.efi": "shim", "kernel": "kernel", "BOOT": "-> efi/shim.efi"}
	mustInstall(t, dir, "plain", ModeDir, tr, Options{})
	a := &Attributes{Files: 0o440, Dirs: 0o2750}
	if r := wear(t, dir, "above/own", ModeDir, tr, a); r.Written != 2 {
		t.Errorf("%+v", r)
	}
	checkModes(t, filepath.Join(dir, "above"), 0o440, fs.ModeDir|fs.ModeSetgid|0o750)
	checkModes(t, filepath.Join(dir, "plain"), 0o444, fs.ModeDir|0o755)
	if got := problemsOf(t, dir, "above/own"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	// The same again changes nothing: its own files are found, not those of the others.
	if r := wear(t, dir, "above/own", ModeDir, tr, a); r.Changed || r.Kept != 2 {
		t.Errorf("%+v", r)
	}
	// What differs is seen and repaired, the live path too.
	must(t, os.Chmod(filepath.Join(dir, "above/own/kernel"), 0o444))
	must(t, os.Chmod(filepath.Join(dir, "above/own/efi"), 0o755))
	must(t, os.Chmod(filepath.Join(dir, "above/own"), 0o755))
	if got := problemsOf(t, dir, "above/own"); !slices.Equal(got, []string{"/ wrong mode", "efi wrong mode", "kernel wrong mode"}) {
		t.Errorf("%q", got)
	}
	wear(t, dir, "above/own", ModeDir, tr, a)
	checkModes(t, filepath.Join(dir, "above"), 0o440, fs.ModeDir|fs.ModeSetgid|0o750)
	// Another wish, the same files.
	if r := wear(t, dir, "above/own", ModeDir, tr, &Attributes{Files: 0o444, Dirs: 0o755}); !r.Changed {
		t.Errorf("%+v", r)
	}
	checkModes(t, filepath.Join(dir, "above/own"), 0o444, fs.ModeDir|0o755)
	for _, live := range []string{"plain", "above/own"} {
		if got := problemsOf(t, dir, live); len(got) != 0 {
			t.Errorf("%s: %q", live, got)
		}
	}
}

// TestWearSparesTheSite: what the site put into a tree stays as it is.
func TestWearSparesTheSite(t *testing.T) {
	dir := t.TempDir()
	mustInstall(t, dir, "os", ModeDir, tree{"efi/shim.efi": "shim"}, Options{})
	must(t, os.Mkdir(filepath.Join(dir, "os/menus"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "os/efi/grub.cfg"), []byte("menu"), 0o600))
	wear(t, dir, "os", ModeDir, tree{"efi/shim.efi": "new"}, &Attributes{Files: 0o440, Dirs: 0o750})
	for name, want := range map[string]fs.FileMode{
		"os": fs.ModeDir | 0o750, "os/efi": fs.ModeDir | 0o750, "os/efi/shim.efi": 0o440, "os/menus": fs.ModeDir | 0o700, "os/efi/grub.cfg": 0o600,
	} {
		if st, err := os.Lstat(filepath.Join(dir, name)); err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

// TestWearSharesGenerations: the directory of all generations is no tree's own, whichever
// comes first: what serves the others has to get through it.
func TestWearSharesGenerations(t *testing.T) {
	for _, mode := range []LiveMode{ModeDir, ModeLink} {
		dir := t.TempDir()
		gid := uint32(os.Getegid())
		if os.Geteuid() == 0 {
			gid = 54321
		}
		wear(t, dir, "own", mode, tree{"kernel": "kernel"}, &Attributes{GID: &gid, Dirs: 0o700})
		st, err := os.Lstat(filepath.Join(dir, generationsName))
		must(t, err)
		if st.Mode() != fs.ModeDir|0o755 || st.Sys().(*syscall.Stat_t).Gid != uint32(os.Getegid()) {
			t.Errorf("%s: %v, %+v", mode, st.Mode(), st.Sys())
		}
	}
}

// TestWearOwner: everything that is made belongs to whom it should, links too, in both
// forms of a live path.
func TestWearOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	uid, gid := uint32(12345), uint32(54321)
	tr := tree{"efi/shim.efi": "shim", "kernel": "kernel", "BOOT": "-> efi/shim.efi"}
	for _, mode := range []LiveMode{ModeDir, ModeLink} {
		dir := t.TempDir()
		wear(t, dir, "above/own", mode, tr, &Attributes{UID: &uid, GID: &gid})
		owners := func() (others []string) {
			must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
				if err != nil || p == dir {
					return err
				}
				if e.Name() == stateName {
					return fs.SkipDir
				}
				info, err := e.Info()
				if st := info.Sys().(*syscall.Stat_t); err == nil && e.Name() != generationsName && (st.Uid != uid || st.Gid != gid) {
					others = append(others, p)
				}
				return err
			}))
			return others
		}
		if others := owners(); len(others) > 0 {
			t.Errorf("%s: not theirs: %q", mode, others)
		}
		if got := problemsOf(t, dir, "above/own"); len(got) != 0 {
			t.Errorf("%s: %q", mode, got)
		}
		// An update links what stays, although it is somebody else's.
		next := tree{"efi/shim.efi": "shim", "kernel": "new", "BOOT": "-> efi/shim.efi"}
		if r := wear(t, dir, "above/own", mode, next, &Attributes{UID: &uid, GID: &gid}); r.Kept != 1 || r.Written != 1 {
			t.Errorf("%s: %+v", mode, r)
		}
		if others := owners(); len(others) > 0 {
			t.Errorf("%s: after the update: %q", mode, others)
		}
		must(t, os.Lchown(filepath.Join(dir, "above/own/BOOT"), 0, 0))
		if got := problemsOf(t, dir, "above/own"); !slices.Equal(got, []string{"BOOT wrong owner"}) {
			t.Errorf("%s: %q", mode, got)
		}
		// Without the wish, only own files are trusted.
		if r := wear(t, dir, "own", mode, next, nil); r.Written != 2 {
			t.Errorf("%s: %+v", mode, r)
		}
	}
}

// TestWearLabel: the SELinux label, whole or by its type.
func TestWearLabel(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Setxattr(dir, labelAttr, []byte("staff_u:object_r:user_home_t:s0\x00"), 0); err != nil {
		t.Skip("labels cannot be set here: ", err)
	}
	tr := tree{"efi/shim.efi": "shim", "BOOT": "-> efi/shim.efi"}
	mustInstall(t, dir, "plain", ModeDir, tr, Options{})
	for label, want := range map[string]string{"tftpdir_t": "staff_u:object_r:tftpdir_t:s0", "system_u:object_r:public_content_t:s0": "system_u:object_r:public_content_t:s0"} {
		wear(t, dir, "above/own", ModeDir, tr, &Attributes{Label: label})
		for _, name := range []string{"above", "above/own", "above/own/efi", "above/own/efi/shim.efi", "above/own/BOOT"} {
			b := make([]byte, 100)
			n, err := unix.Lgetxattr(filepath.Join(dir, name), labelAttr, b)
			if name == "above" && label != "tftpdir_t" {
				continue // it was there
			}
			if got := strings.TrimRight(string(b[:max(n, 0)]), "\x00"); err != nil || got != want && name != "above" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if got := problemsOf(t, dir, "above/own"); len(got) != 0 {
			t.Errorf("%q", got)
		}
	}
	must(t, unix.Lsetxattr(filepath.Join(dir, "above/own/BOOT"), labelAttr, []byte("x:y:z:s0"), 0))
	if got := problemsOf(t, dir, "above/own"); !slices.Equal(got, []string{"BOOT wrong label"}) {
		t.Errorf("%q", got)
	}
}

func checkModes(t *testing.T, root string, file, dir fs.FileMode) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.Type() == fs.ModeSymlink {
			return err
		}
		info, err := e.Info()
		if want := map[bool]fs.FileMode{true: dir, false: file}[e.IsDir()]; err == nil && info.Mode() != want {
			t.Errorf("%s: %v instead of %v", p, info.Mode(), want)
		}
		return err
	}))
}

func problemsOf(t *testing.T, dir, live string) (list []string) {
	t.Helper()
	d, err := View(dir)
	must(t, err)
	defer d.Close()
	tr, err := d.Tree(live)
	must(t, err)
	problems, err := d.Drift(context.Background(), tr, false)
	must(t, err)
	for _, p := range problems {
		list = append(list, p.Path+" "+p.What)
	}
	slices.Sort(list)
	return list
}

// TestWearUnwritable: directories that their owner cannot write are for those whom that
// does not stop; others are told before anything is fetched.
func TestWearUnwritable(t *testing.T) {
	const user = 65534
	dir := quickDir(t)
	must(t, os.Chown(dir, user, user))
	narrow := &Attributes{Dirs: 0o550}
	before := snapshot(t, dir)
	err := asUser(t, user, func() error {
		_, err := wearing("os", ModeDir, treeA, narrow)(dir, Options{})
		return err
	})
	var advice interface{ Hint() string }
	if !errors.As(err, &advice) || !strings.Contains(err.Error(), "0550") {
		t.Errorf("got %v", err)
	}
	if left := leftovers(t, dir); !maps.Equal(before, snapshot(t, dir)) || len(left) > 0 {
		t.Errorf("something changed; left %q", left)
	}
	dir = t.TempDir()
	for _, tr := range []tree{treeA, treeB, treeA} {
		wear(t, dir, "os", ModeDir, tr, narrow)
	}
	checkModes(t, filepath.Join(dir, "os"), 0o444, fs.ModeDir|0o550)
}
