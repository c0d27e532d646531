package spec

import "path"

// growTree checks the names of the entries, alone and against each other, and
// makes the tree of those that can be used.
func (c *checker) growTree() {
	c.tree = newTree()
	if n := len(c.img.Entries); n > MaxEntries {
		c.report(RuleEntryCount, "", "%d entries are more than %d", n, MaxEntries)
	}
	names := 0
	for i := range c.img.Entries {
		e := &c.img.Entries[i]
		names += len(e.Path) + len(e.Target)
		c.addEntry(e, i)
	}
	if names > MaxNamesSize {
		c.report(RuleEntryCount, "", "names of %d bytes are more than %d", names, MaxNamesSize)
	}
	// Only now all names are known, and an entry may stand before its parent.
	for i := range c.img.Entries {
		e := &c.img.Entries[i]
		if c.tree.nodes[e.Path].entry == e {
			c.checkParents(e)
		}
		if len(c.tree.nodes) > 2*MaxEntries {
			break // reported below; there may be millions
		}
	}
	c.countNodes()
}

// countNodes holds the bound for directories too that no entry makes.
func (c *checker) countNodes() {
	if n := len(c.tree.nodes) - 1; n > MaxEntries && len(c.img.Entries) <= MaxEntries {
		c.report(RuleEntryCount, "", "%d entries and directories above them are more than %d", n, MaxEntries)
	}
}

// addEntry puts an entry into the tree if its name can be used.
func (c *checker) addEntry(e *Entry, index int) {
	switch e.Type {
	case TypeFile, TypeDir, TypeSymlink, TypeHardlink:
	default:
		c.report(RuleEntryType, e.Path, "the entry has the type %q", e.Type)
		return
	}
	if e.Path == "." && e.Type == TypeDir {
		return // tar writes the directory that it was given
	}
	if err := CheckPath(e.Path); err != nil {
		c.refuse(err)
		return
	}
	if e.Size < 0 {
		c.report(RuleTarHeader, e.Path, "negative size %d", e.Size)
	}
	if before, ok := c.tree.nodes[e.Path]; ok {
		if before.kind != TypeDir || e.Type != TypeDir {
			c.report(RulePathTwice, e.Path, "the path is there twice, as %s and as %s", before.kind, e.Type)
		}
		return
	}
	c.tree.nodes[e.Path] = node{kind: e.Type, entry: e, index: index}
	if e.Type == TypeFile {
		c.tree.content[e.Path] = e
	}
}

// checkParents looks for case twins of an entry and of the directories above
// it, and whether these are directories. Directories that no entry makes get
// into the tree here.
func (c *checker) checkParents(e *Entry) {
	c.spell(e.Path)
	if above := c.tree.blocked(path.Dir(e.Path)); above != "" {
		c.report(RulePathParent, e.Path, "%q above it is a %s, not a directory", above, c.tree.nodes[above].kind)
	}
}

// spell notes how a path and those above it are written.
func (c *checker) spell(p string) {
	for ; p != "." && !c.tree.spelled[p]; p = path.Dir(p) {
		c.tree.spelled[p] = true
		if _, ok := c.tree.nodes[p]; !ok {
			c.tree.nodes[p] = node{kind: TypeDir}
		}
		key := FoldKey(p)
		if other, ok := c.tree.spelling[key]; ok {
			c.report(RulePathCase, p, "differs from %q only by case", other)
			continue
		}
		c.tree.spelling[key] = p
	}
}

// checkLinks checks that every link leads to something in the tree.
func (c *checker) checkLinks() {
	for i := range c.img.Entries {
		e := &c.img.Entries[i]
		if c.tree.nodes[e.Path].entry != e {
			continue
		}
		switch e.Type {
		case TypeSymlink:
			c.checkSymlink(e)
		case TypeHardlink:
			c.checkHardlink(i)
		}
	}
}

func (c *checker) checkSymlink(e *Entry) {
	if err := CheckLink(e.Path, e.Target); err != nil {
		c.refuse(err)
		return
	}
	if r := c.tree.follow(e.Path, 0); r.rule != "" {
		c.report(r.rule, e.Path, "the link to %q %s", e.Target, r.why)
	}
}

// checkHardlink requires that the target is a file, or another hard link, that
// stands before the link: so no link is ever made to something not yet checked.
// It runs in the order of the entries and notes which file is behind the link.
func (c *checker) checkHardlink(i int) {
	e := &c.img.Entries[i]
	if err := CheckPath(e.Target); err != nil {
		c.report(RuleLinkTarget, e.Path, "the hard link has the bad target %q", e.Target)
		return
	}
	content, ok := c.tree.content[e.Target]
	if !ok || c.tree.nodes[e.Target].index > i {
		c.report(RuleLinkDangling, e.Path, "the hard link to %q does not lead to a file that stands before it", e.Target)
		return
	}
	c.tree.content[e.Path] = content
}
