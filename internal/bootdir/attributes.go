package bootdir

import (
	"cmp"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// Modes of what nbextract makes where nothing else is asked for.
const (
	fileMode = 0o444 // of every managed regular file
	dirMode  = 0o755 // of a directory that replaces none
)

// Attributes are owner, modes and SELinux label that the site wants of a tree: of its
// files, links and directories, and of the directories that are made for it. They never
// come from an image. What a field leaves open is as without it; nil leaves all open.
type Attributes struct {
	UID   *uint32 `json:"uid,omitempty"`   // of the owner; nil: who runs nbextract
	GID   *uint32 `json:"gid,omitempty"`   // of the group; nil: as the system gives it
	Files uint32  `json:"files,omitempty"` // mode of regular files; 0: 0444
	Dirs  uint32  `json:"dirs,omitempty"`  // mode of directories; 0: 0755, or as the one that is replaced
	// Label is an SELinux context, or only its type: then the rest is that of the
	// boot directory.
	Label string `json:"label,omitempty"`
}

// ParseAttributes reads what users write. chown is USER, USER:GROUP or :GROUP, by name or
// number; chmod a list with commas of octal modes, D in front for directories, F for files,
// nothing for both; label an SELinux context or type. An empty string leaves it open. It
// gives nil when all is left open.
func ParseAttributes(chown, chmod, label string) (*Attributes, error) {
	if chown == "" && chmod == "" && label == "" {
		return nil, nil
	}
	a := &Attributes{Label: label}
	if err := errors.Join(a.parseOwner(chown), a.parseModes(chmod)); err != nil {
		return nil, err
	}
	return a, a.check()
}

func (a *Attributes) parseOwner(s string) (err error) {
	name, group, hasGroup := strings.Cut(s, ":")
	if s != "" && name == "" && group == "" || hasGroup && group == "" {
		return fmt.Errorf("owner %q is not USER, USER:GROUP or :GROUP", s)
	}
	if a.UID, err = idOf(name, "user", func() (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	}); err != nil {
		return err
	}
	a.GID, err = idOf(group, "group", func() (string, error) {
		g, err := user.LookupGroup(group)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return err
}

// idOf gives the number that is meant by a name, nil for the empty one.
func idOf(name, kind string, look func() (string, error)) (*uint32, error) {
	if name == "" {
		return nil, nil
	}
	number := name
	if strings.Trim(name, "0123456789") != "" {
		var err error
		if number, err = look(); err != nil {
			return nil, fmt.Errorf("this machine knows no %s %q", kind, name)
		}
	}
	id, err := strconv.ParseUint(number, 10, 32)
	if err != nil || id == 1<<32-1 { // that number means "leave it" to the kernel
		return nil, fmt.Errorf("%s %q has no number that can be used", kind, name)
	}
	n := uint32(id)
	return &n, nil
}

func (a *Attributes) parseModes(s string) error {
	if s == "" {
		return nil
	}
	for part := range strings.SplitSeq(s, ",") {
		digits := strings.TrimLeft(part, "DF")
		mode, err := strconv.ParseUint(digits, 8, 16)
		if err != nil || len(part)-len(digits) > 1 || len(digits) < 3 || mode == 0 {
			return fmt.Errorf("mode %q is not octal, as in D0750,F0440", part)
		}
		if part[0] != 'D' {
			a.Files = uint32(mode)
		}
		if part[0] != 'F' {
			a.Dirs = uint32(mode)
		}
	}
	return nil
}

// check refuses what no boot tree may be: its owner has to be able to read it, files are
// not executable, and not everybody may write.
func (a *Attributes) check() error {
	if a == nil {
		return nil
	}
	if a.Files&^0o664 != 0 || a.Files != 0 && a.Files&0o400 == 0 {
		return fmt.Errorf("mode %04o is none for files: the owner reads them, nobody executes them, others do not write them", a.Files)
	}
	if a.Dirs&^0o2775 != 0 || a.Dirs != 0 && a.Dirs&0o500 != 0o500 {
		return fmt.Errorf("mode %04o is none for directories: the owner reads and enters them, others do not write them", a.Dirs)
	}
	if strings.ContainsFunc(a.Label, func(r rune) bool { return r <= ' ' || r >= 0x7f }) || len(a.Label) > 255 {
		return fmt.Errorf("%q is no SELinux label", a.Label)
	}
	if n := strings.Count(a.Label, ":"); n == 1 || n == 2 || slices.Contains(strings.SplitN(a.Label, ":", 4), "") && a.Label != "" {
		return fmt.Errorf("SELinux label %q is neither a type nor USER:ROLE:TYPE:LEVEL", a.Label)
	}
	return nil
}

// Over gives a with what it leaves open from base. Both may be nil.
func (a *Attributes) Over(base *Attributes) *Attributes {
	if a == nil || base == nil {
		return cmp.Or(a, base)
	}
	return &Attributes{
		UID: cmp.Or(a.UID, base.UID), GID: cmp.Or(a.GID, base.GID),
		Files: cmp.Or(a.Files, base.Files), Dirs: cmp.Or(a.Dirs, base.Dirs), Label: cmp.Or(a.Label, base.Label),
	}
}

// Equal tells whether two ask for the same. Both may be nil.
func (a *Attributes) Equal(b *Attributes) bool {
	if a == nil || b == nil {
		return a.empty() && b.empty()
	}
	return equalID(a.UID, b.UID) && equalID(a.GID, b.GID) && a.Files == b.Files && a.Dirs == b.Dirs && a.Label == b.Label
}

func (a *Attributes) empty() bool { return a == nil || *a == Attributes{} }

func equalID(a, b *uint32) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// fileMode is the mode that regular files are to have.
func (a *Attributes) fileMode() uint32 {
	if a == nil {
		return fileMode
	}
	return cmp.Or(a.Files, fileMode)
}
