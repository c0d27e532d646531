package spec

// checkEntrypoints checks that the entrypoint labels name files, and that the
// links beside these are right or can be made.
func (c *checker) checkEntrypoints() {
	for _, l := range EntryLinks() {
		entrypoint, ok := c.labels[l.Label]
		if !ok {
			continue
		}
		if err := CheckPath(entrypoint); err != nil {
			c.report(RuleLabelValue, l.Label, "%q is not a path inside the tree", entrypoint)
			continue
		}
		file := c.tree.file(entrypoint)
		if file == nil {
			c.report(RuleEntrypoint, l.Label, "%q is not a file of the image", entrypoint)
			continue
		}
		c.checkEntryLink(l, entrypoint, file)
	}
}

// checkEntryLink checks what stands where the link to an entrypoint belongs.
func (c *checker) checkEntryLink(l EntryLink, entrypoint string, file *Entry) {
	link := LinkFor(entrypoint, l.Name)
	if link == entrypoint {
		return // the file has the name of its link already
	}
	if err := CheckPath(link); err != nil {
		c.report(RuleEntryLink, link, "the link for %s cannot be made beside %q", l.Label, entrypoint)
		return
	}
	there, ok := c.tree.nodes[link]
	if !ok {
		if twin, ok := c.tree.spelling[FoldKey(link)]; ok {
			c.report(RuleEntryLink, link, "the link for %s cannot be made beside %q", l.Label, twin)
			return
		}
		if c.form == FormImage { // artifacts have no links
			c.report(RuleLinkAbsent, link, "the image has no link to %q", entrypoint)
		}
		return
	}
	got := c.tree.file(link)
	if got == nil || got != file && (got.SHA256 != file.SHA256 || file.SHA256 == "") {
		c.report(RuleEntryLink, link, "is not the file %q that the label %s names", entrypoint, l.Label)
		return
	}
	if there.kind != TypeSymlink {
		c.report(RuleLinkCopy, link, "is a second copy of %q", entrypoint)
	}
}
