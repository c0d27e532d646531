package spec

// CheckDocuments gives the violations that show before any layer is read, the
// first part of what [Check] gives: those of manifest and config, and of the
// files that the manifest of an artifact names. Entries and Sums may be missing.
func CheckDocuments(img *Image) []Violation {
	c := newChecker(img)
	if !c.complete() {
		return c.found
	}
	c.documents()
	c.checkLabels()
	if c.form.NamesFiles() {
		c.promisedTree()
	}
	return c.found
}
