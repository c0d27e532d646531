//go:build linux

package bootdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nbpack/nbpack/spec"
)

const labelAttr = "security.selinux"

// Wear says which attributes the trees of this stage get, before anything is staged;
// without it they get the usual ones. That this user cannot give them is found out here,
// before anything is fetched.
func (s *Stage) Wear(a *Attributes) error {
	if a.empty() {
		return nil
	}
	if err := a.check(); err != nil {
		return err
	}
	w := *a
	s.attrs = &w
	if a.Label != "" {
		var err error
		if s.label, err = s.d.context(a.Label); err != nil {
			return err
		}
	}
	const trial = "trial-attributes"
	if err := s.d.ops.mkdir(s.dir, trial, 0o700); err != nil {
		return err
	}
	dir, err := s.dir.open(trial)
	if err == nil {
		err = s.d.dressFD(dir.fd, s.live, s.attrs, s.label, s.attrs.Dirs)
		if err == nil {
			err = s.attrs.movable(dir)
		}
		dir.close()
	}
	return errors.Join(err, s.d.ops.rmdir(s.dir, trial))
}

// movable refuses modes with which this user could neither move a directory to another
// place nor empty it.
func (a *Attributes) movable(dir *dirFD) error {
	err := unix.Faccessat(dir.fd, ".", unix.W_OK, unix.AT_EACCESS)
	if !errors.Is(err, unix.EACCES) {
		return err
	}
	return withHint(fmt.Errorf("directories of mode %04o could not be replaced: %w", a.Dirs, err),
		"only root replaces directories that their owner cannot write; give them a mode such as 0750")
}

// context makes a whole SELinux context of a type: that of the boot directory with
// another type.
func (d *Dir) context(label string) (string, error) {
	if strings.Contains(label, ":") {
		return label, nil
	}
	fields := []string{"system_u", "object_r", "", "s0"}
	have, err := getAttr(d.root.fd, labelAttr)
	if err == nil {
		if f := strings.SplitN(strings.TrimRight(string(have), "\x00"), ":", 4); len(f) == 4 {
			fields = f
		}
	} else if !errors.Is(err, unix.ENODATA) {
		return "", fmt.Errorf("read the SELinux label of %q: %w", d.path, err)
	}
	fields[2] = label
	return strings.Join(fields, ":"), nil
}

// dressStaged gives the generation its attributes. Files that other trees show, too,
// have them already: Reuse has linked no others.
func (s *Stage) dressStaged(entries []spec.Entry) error {
	if s.attrs == nil {
		return nil
	}
	if err := s.dressDirAt(s.dir, stagedGeneration); err != nil {
		return err
	}
	for _, e := range entries {
		up, name, err := s.gen.parent(e.Path)
		if err != nil {
			return err
		}
		switch e.Type {
		case spec.TypeDir:
			err = s.dressDirAt(up, name)
		case spec.TypeSymlink:
			err = s.dressLink(up, name)
		default:
			err = s.dressFile(up, name)
		}
		up.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Stage) dressDirAt(up *dirFD, name string) error {
	if s.attrs == nil {
		return nil
	}
	dir, err := up.open(name)
	if err != nil {
		return err
	}
	defer dir.close()
	return s.dressDir(dir)
}

// dressDir gives a directory that is made for the tree what it is to have.
func (s *Stage) dressDir(dir *dirFD) error {
	if s.attrs == nil {
		return nil
	}
	return s.d.dressFD(dir.fd, dir.path, s.attrs, s.label, s.attrs.Dirs)
}

// dressFile does it for a regular file of the stage that nobody sees yet.
func (s *Stage) dressFile(up *dirFD, name string) error {
	if s.attrs == nil {
		return nil
	}
	st, err := up.stat(name)
	if err != nil || s.fits(up, name, st) {
		return err
	}
	fd, _, err := up.openFile(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := s.d.dressFD(fd, up.join(name), s.attrs, s.label, s.attrs.fileMode()); err != nil {
		return err
	}
	return s.d.ops.fsync(fd, up.join(name))
}

// symlink makes a link of the tree.
func (s *Stage) symlink(target string, up *dirFD, name string) error {
	if err := s.d.ops.symlink(target, up, name); err != nil {
		return err
	}
	return s.dressLink(up, name)
}

// dressLink does it for a symbolic link of the stage, which has no mode.
func (s *Stage) dressLink(up *dirFD, name string) error {
	if s.attrs == nil {
		return nil
	}
	st, err := up.stat(name)
	if err != nil {
		return err
	}
	shown := up.join(name)
	if uid, gid, other := s.attrs.owner(st); other {
		if err := s.d.ops.chown(up, name, uid, gid); err != nil {
			return cannotGive(shown, uid, gid, err)
		}
	}
	if s.label == "" {
		return nil
	}
	err = s.d.ops.do("setxattr", shown, func() error {
		return unix.Lsetxattr(procPath(up, name), labelAttr, []byte(s.label+"\x00"), 0)
	})
	return cannotLabel(shown, s.label, err)
}

// fits tells whether a regular file may be linked into the stage as it is. A file
// whose owner nobody asked for has to be ours: who owns it can change it.
func (s *Stage) fits(up *dirFD, name string, st *unix.Stat_t) bool {
	if s.attrs == nil || s.attrs.UID == nil {
		if int(st.Uid) != os.Geteuid() {
			return false
		}
	}
	return s.attrs.wrong(spec.TypeFile, st) == "" && s.attrs.wrongLabel(up, name) == ""
}

// dressFD gives a file or directory owner, label and mode; 0 leaves the mode. The mode
// comes last: changing the owner clears bits of it. A descriptor leads nowhere else,
// whatever the new owner of the directory above does meanwhile.
func (d *Dir) dressFD(fd int, shown string, a *Attributes, label string, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if uid, gid, other := a.owner(&st); other {
		err := d.ops.do("chown", shown, func() error { return unix.Fchown(fd, int(uid), int(gid)) })
		if err != nil {
			return cannotGive(shown, uid, gid, err)
		}
	}
	if label != "" {
		if err := d.ops.setxattr(fd, shown, labelAttr, []byte(label+"\x00")); err != nil {
			return cannotLabel(shown, label, err)
		}
	}
	if mode == 0 {
		return nil
	}
	return d.ops.chmod(fd, shown, mode)
}

// owner gives the numbers that an entry is to have, and whether it has others.
func (a *Attributes) owner(st *unix.Stat_t) (uid, gid uint32, other bool) {
	uid, gid = st.Uid, st.Gid
	if a.UID != nil {
		uid = *a.UID
	}
	if a.GID != nil {
		gid = *a.GID
	}
	return uid, gid, uid != st.Uid || gid != st.Gid
}

func cannotGive(shown string, uid, gid uint32, err error) error {
	return withHint(fmt.Errorf("give %q to user %d and group %d: %w", shown, uid, gid, cause(err)),
		"only root gives files away; other users may give theirs to groups that they are in")
}

// cause takes the name of the call and the path from an error that names the path itself.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func cannotLabel(shown, label string, err error) error {
	if err == nil {
		return nil
	}
	return withHint(fmt.Errorf("give %q the SELinux label %q: %w", shown, label, cause(err)),
		"the policy has to know the label, and to let nbextract set it; the file system has to keep labels")
}

// procPath is how to name an entry of a directory in calls that have no form for that.
func procPath(up *dirFD, name string) string { return fmt.Sprintf("/proc/self/fd/%d/%s", up.fd, name) }

// wrong compares owner and mode of an entry with what is asked for, empty when they agree.
func (a *Attributes) wrong(kind spec.EntryType, st *unix.Stat_t) string {
	if kind == spec.TypeFile && perm(st) != a.fileMode() {
		return WrongMode
	}
	if a == nil {
		return ""
	}
	if kind == spec.TypeDir && a.Dirs != 0 && perm(st) != a.Dirs {
		return WrongMode
	}
	if a.UID != nil && st.Uid != *a.UID || a.GID != nil && st.Gid != *a.GID {
		return WrongOwner
	}
	return ""
}

// wrongLabel compares the label of an entry, empty when it is right or nobody asks.
func (a *Attributes) wrongLabel(up *dirFD, name string) string {
	if a == nil || a.Label == "" {
		return ""
	}
	b := make([]byte, 512)
	n, err := unix.Lgetxattr(procPath(up, name), labelAttr, b)
	have := strings.TrimRight(string(b[:max(n, 0)]), "\x00")
	if fields := strings.SplitN(have, ":", 4); !strings.Contains(a.Label, ":") && len(fields) == 4 {
		have = fields[2]
	}
	if err != nil || have != a.Label {
		return WrongLabel
	}
	return ""
}

// worn is wrong and wrongLabel for an entry by its path.
func (a *Attributes) worn(at *cursor, e spec.Entry, st *unix.Stat_t) (string, error) {
	if what := a.wrong(e.Type, st); what != "" || a == nil || a.Label == "" {
		return what, nil
	}
	dir, name, err := at.at(e.Path)
	if err != nil {
		return "", err
	}
	return a.wrongLabel(dir, name), nil
}

// wornTop is worn for the directory at a live path.
func (d *Dir) wornTop(t *Tree, st *unix.Stat_t) (string, error) {
	if what := t.Attributes.wrong(spec.TypeDir, st); what != "" || t.Attributes == nil || t.Attributes.Label == "" {
		return what, nil
	}
	up, name, err := d.root.parent(t.Live)
	if err != nil {
		return "", err
	}
	defer up.close()
	return t.Attributes.wrongLabel(up, name), nil
}

// dressParent gives a directory that was made above a tree what the tree has. The one
// of the generations is every tree's: servers of others have to get through it, too.
func (c *commit) dressParent(dir string, up *dirFD, name string) error {
	a := c.j.Parts[0].Tree.Attributes
	if a == nil {
		return nil
	}
	if dir == generationsName {
		a = &Attributes{Label: a.Label}
	}
	label := ""
	if a.Label != "" {
		var err error
		if label, err = c.d.context(a.Label); err != nil {
			return err
		}
	}
	made, err := up.open(name)
	if err != nil {
		return err
	}
	defer made.close()
	return c.d.dressFD(made.fd, made.path, a, label, a.Dirs)
}

// topProblem compares the live path itself with what was asked for.
func (d *Dir) topProblem(t *Tree) (string, error) {
	if t.Attributes == nil || t.Live == FlatLive {
		return "", nil
	}
	st, err := d.root.statPath(t.Live)
	if err != nil || !isDir(st) {
		return "", err
	}
	return d.wornTop(t, st)
}
