package spec

import "path"

// checkSums compares SHA256SUM with the regular files of the tree.
func (c *checker) checkSums() {
	listed := make(map[string]string, len(c.img.Sums))
	for _, s := range c.img.Sums {
		listed[s.Path] = s.SHA256
	}
	if !c.img.HasSums || c.tree.nodes[SumsName].kind != TypeFile {
		c.noSums()
		return // or every file would be reported as unlisted
	}
	copies := c.listedByDir(listed)
	files := 0
	for i := range c.img.Entries {
		e := &c.img.Entries[i]
		if e.Type != TypeFile || e.Path == SumsName || c.tree.nodes[e.Path].entry != e {
			continue
		}
		files++
		if _, ok := listed[e.Path]; ok || isLinkName(e.Path) && e.SHA256 != "" && copies[inDir{path.Dir(e.Path), e.SHA256}] {
			continue // the sum itself is compared below, line by line
		}
		c.report(RuleSumsUnlisted, e.Path, "the file is not listed in SHA256SUM")
	}
	if files == 0 {
		c.report(RulePayloadEmpty, "", "the image has no file besides SHA256SUM")
	}
	c.compareSums()
}

// noSums judges a tree without a list: an artifact needs none, because its
// manifest says what its files hold. One that has a file of that name promises
// more, and whoever did not read the list has not proved it.
func (c *checker) noSums() {
	if _, there := c.tree.nodes[SumsName]; c.form == FormImage || there {
		c.report(RuleSumsMissing, SumsName, "there is no regular file SHA256SUM at the top of the tree")
	} else if len(c.tree.content) == 0 {
		c.report(RulePayloadEmpty, "", "the artifact has no file")
	}
}

// inDir is a content in a directory.
type inDir struct{ dir, sha256 string }

// listedByDir gives the contents that every directory has under a listed name:
// a builder that follows links on copying leaves BOOT as a second copy of one.
func (c *checker) listedByDir(listed map[string]string) map[inDir]bool {
	contents := make(map[inDir]bool)
	for p, sum := range listed {
		if file := c.tree.content[p]; file != nil && file.SHA256 == sum {
			contents[inDir{path.Dir(p), sum}] = true
		}
	}
	return contents
}

// compareSums checks every line. A hard link may be listed as well as left out:
// find -type f cannot tell it from the file.
func (c *checker) compareSums() {
	seen := make(map[string]bool)
	for _, s := range c.img.Sums {
		if seen[s.Path] {
			c.report(RuleSumsSyntax, SumsName, "%q is listed twice", s.Path)
			continue
		}
		seen[s.Path] = true
		file := c.tree.content[s.Path]
		switch {
		case file == nil || s.Path == SumsName:
			c.report(RuleSumsExtra, s.Path, "SHA256SUM lists it, but it is not a regular file of the payload")
		case file.SHA256 != s.SHA256:
			c.report(RuleSumsMismatch, s.Path, "the file has sha256 %q, SHA256SUM says %q", file.SHA256, s.SHA256)
		}
	}
}
