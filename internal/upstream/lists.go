package upstream

import (
	"path"
	"slices"
	"strings"
)

// List is what a publisher says about files.
type List struct {
	Name   string // as the document was named
	Kind   Kind
	SHA256 string // of the document, in hex
	// Signer is the fingerprint of the primary key of who vouches for the list,
	// in hex. Empty: nobody does.
	Signer string
	// Root is the document that was signed, RootSHA256 what it is, and NameInRoot
	// how it calls this list. Empty where the list is signed itself.
	Root, RootSHA256, NameInRoot string

	sums   []named
	byName map[string]string
	byBase map[string][]int // positions in sums
}

func (l *List) fill(sums []named) {
	l.sums = sums
	l.byName = make(map[string]string, len(sums))
	l.byBase = make(map[string][]int, len(sums))
	for i, s := range sums {
		l.byName[s.name] = s.sha256
		base := path.Base(s.name)
		l.byBase[base] = append(l.byBase[base], i)
	}
}

// Sums gives the SHA-256 of every file by name.
func (l *List) Sums() map[string]string { return l.byName }

// Find gives the checksums that a file of this name may have according to the
// list; none where it says nothing about such a file. The name itself decides
// where the list has it. Otherwise names count of which one is the end of the
// other, because a list is written from another directory than the one that is
// packed: netboot/debian-installer/amd64/linux and debian-installer/amd64/linux.
// Several may match. A name at the top of the list is no end of another: it
// would be that of unrelated files.
func (l *List) Find(name string) []string {
	if sum, ok := l.byName[name]; ok {
		return []string{sum}
	}
	var found []string
	for _, i := range l.byBase[path.Base(name)] {
		s := l.sums[i]
		below := strings.Contains(s.name, "/") && strings.HasSuffix(name, "/"+s.name)
		if (below || strings.HasSuffix(s.name, "/"+name)) && !slices.Contains(found, s.sha256) {
			found = append(found, s.sha256)
		}
	}
	return found
}

// Lists are all that were read, in the order of their documents.
type Lists struct{ Lists []*List }

// Claim is what one list says about a file.
type Claim struct {
	List   *List
	SHA256 []string // one of these
}
