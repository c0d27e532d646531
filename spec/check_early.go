package spec

// CheckDocuments gives the violations that manifest and config alone show, the
// first part of what [Check] gives. A consumer asks it before it fetches
// layers; Entries and Sums may be missing.
func CheckDocuments(img *Image) []Violation {
	c := newChecker(img)
	if c.complete() {
		c.documents()
		c.checkLabels()
	}
	return c.found
}
