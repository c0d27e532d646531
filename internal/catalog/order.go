package catalog

import (
	"cmp"
	"regexp"
	"strings"
)

// Order says which of two tags is newer.
type Order string

// The orders.
const (
	OrderNatural Order = "natural" // as people sort: rawhide-9 before rawhide-10
	OrderSemver  Order = "semver"  // by the version in the tag; 42-rc.1 before 42
	OrderDate    Order = "date"    // by the day in the tag
)

// versionIn finds a version: what follows the first number that begins a word.
var versionIn = regexp.MustCompile(`(?:^|[-_./v])(\d+(?:\.\d+)*)(?:-([0-9A-Za-z.-]+))?(?:[+_][0-9A-Za-z.-]+)?$`)

// dateIn finds a day, which something may follow.
var dateIn = regexp.MustCompile(`(?:^|\D)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?:\D(.*))?$`)

// comparable tells whether the order can say anything about a tag.
func (o Order) comparable(tag string) bool {
	switch o {
	case OrderSemver:
		return versionIn.MatchString(tag)
	case OrderDate:
		return dateIn.MatchString(tag)
	}
	return true
}

// compare gives -1 where a is older than b. Tags that are equally new are told
// apart by their natural order, so that a choice is always the same.
func (o Order) compare(a, b string) int {
	c := 0
	switch o {
	case OrderSemver:
		c = compareVersions(versionIn.FindStringSubmatch(a), versionIn.FindStringSubmatch(b))
	case OrderDate:
		x, y := dateIn.FindStringSubmatch(a), dateIn.FindStringSubmatch(b)
		c = cmp.Or(strings.Compare(x[1]+x[2]+x[3], y[1]+y[2]+y[3]), natural(x[4], y[4]))
	}
	return cmp.Or(c, natural(a, b))
}

// compareVersions follows semver.org, item 11, for any number of numbers.
func compareVersions(a, b []string) int {
	if c := natural(padded(a[1]), padded(b[1])); c != 0 {
		return c
	}
	switch {
	case a[2] == b[2]:
		return 0
	case a[2] == "": // a release is newer than what led to it
		return 1
	case b[2] == "":
		return -1
	}
	x, y := strings.Split(a[2], "."), strings.Split(b[2], ".")
	for i := range min(len(x), len(y)) {
		if c := compareIdentifiers(x[i], y[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// padded makes 42 and 42.0.0 equal: zeros at the end say nothing.
func padded(v string) string {
	for strings.HasSuffix(v, ".0") {
		v = strings.TrimSuffix(v, ".0")
	}
	return v
}

// compareIdentifiers puts numbers before words.
func compareIdentifiers(a, b string) int {
	an, bn := strings.Trim(a, "0123456789") == "", strings.Trim(b, "0123456789") == ""
	switch {
	case an && !bn:
		return -1
	case bn && !an:
		return 1
	case an:
		return natural(a, b)
	}
	return strings.Compare(a, b)
}

// natural compares runs of digits as numbers, however long, and the rest byte
// by byte.
func natural(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x == 0 || y == 0 {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		n, m := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
		if c := cmp.Or(cmp.Compare(len(n), len(m)), strings.Compare(n, m)); c != 0 {
			return c
		}
		a, b = a[x:], b[y:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is how many digits a string begins with.
func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
