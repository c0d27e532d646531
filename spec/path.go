package spec

import (
	"io/fs"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// whiteoutPrefix starts the names that delete files of lower layers in OCI
// images; a boot tree has no lower layers worth deleting.
const whiteoutPrefix = ".wh."

// Names that a boot directory keeps for itself, in every case: the state
// directory anywhere, the directory of generations as a first element.
const (
	reservedState       = ".nbextract"
	reservedGenerations = "by-digest"
)

// CheckPath refuses a name that is not the clean, relative, slash-separated
// path of something inside a boot tree: valid UTF-8 without backslash and
// control characters, within the bounds, no whiteout and no reserved name.
func CheckPath(p string) error {
	if err := checkText(p); err != nil {
		return err
	}
	if p == "." || !fs.ValidPath(p) {
		return Refuse(RulePath, p, "not a clean path inside the tree")
	}
	if strings.Count(p, "/") >= MaxPathDepth {
		return Refuse(RulePath, p, "more than %d elements", MaxPathDepth)
	}
	for i, element := range strings.Split(p, "/") {
		if err := checkElement(p, element); err != nil {
			return err
		}
		if i == 0 && reservedAtTop(element) {
			return Refuse(RulePathReserved, p, "%q is a reserved name", element)
		}
	}
	return nil
}

// checkText refuses what cannot be shown, stored or compared safely.
func checkText(p string) error {
	if len(p) > MaxPathLen {
		return Refuse(RulePath, p[:64]+"…", "longer than %d bytes", MaxPathLen)
	}
	if !utf8.ValidString(p) {
		return Refuse(RulePath, p, "not valid UTF-8")
	}
	if strings.ContainsFunc(p, unicode.IsControl) {
		return Refuse(RulePath, p, "has control characters")
	}
	if strings.Contains(p, `\`) {
		return Refuse(RulePath, p, "has a backslash")
	}
	return nil
}

func checkElement(p, element string) error {
	switch {
	case len(element) > MaxElementLen:
		return Refuse(RulePath, p, "has an element of more than %d bytes", MaxElementLen)
	case strings.HasPrefix(element, whiteoutPrefix):
		return Refuse(RuleWhiteout, p, "is a whiteout")
	case FoldKey(element) == FoldKey(reservedState):
		return Refuse(RulePathReserved, p, "%q is a reserved name", element)
	}
	return nil
}

// reservedAtTop tells whether a boot directory keeps this name for itself.
func reservedAtTop(element string) bool {
	key := FoldKey(element)
	return key == FoldKey(reservedState) || key == FoldKey(reservedGenerations)
}

// CleanTarName gives the path that a tar header names: without the "./" that
// tar writes in front and the "/" that it writes behind directories. The root
// directory itself, "." or "./", or "/" as umoci writes it, gives ".". What
// CheckPath refuses is refused.
func CleanTarName(name string) (string, error) {
	if name == "." || name == "./" || name == "/" {
		return ".", nil
	}
	p := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if err := CheckPath(p); err != nil {
		return "", err
	}
	return p, nil
}

// CheckLink refuses a symlink at p unless its target is relative and, read
// without following other links, leads to a permitted path inside the tree.
// What a chain of links leads to is judged by Check, which knows the tree.
func CheckLink(p, target string) error {
	if err := checkText(target); err != nil {
		return Refuse(RuleLinkTarget, p, "bad link target: %s", why(err))
	}
	if len(target) >= MaxPathLen {
		return Refuse(RuleLinkTarget, p, "link target of %d bytes, no system takes %d", len(target), MaxPathLen)
	}
	if target == "" || path.IsAbs(target) {
		return Refuse(RuleLinkTarget, p, "link target %q is not relative", target)
	}
	led := path.Join(path.Dir(p), target)
	if led == "." {
		return nil
	}
	if led == p {
		return Refuse(RuleLinkTarget, p, "link points to itself")
	}
	if err := CheckPath(led); err != nil {
		return Refuse(RuleLinkTarget, p, "link target %q leads outside the tree or to a reserved name", target)
	}
	return nil
}

// FoldKey gives a key that is equal for names which differ only by case, by
// Unicode simple case folding: file systems that ignore case would make one
// file of them.
func FoldKey(p string) string {
	return strings.Map(foldRune, p)
}

// foldRune gives the smallest rune of those that differ only by case.
func foldRune(r rune) rune {
	smallest := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		smallest = min(smallest, f)
	}
	return smallest
}
