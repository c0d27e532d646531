package byterange

import (
	"fmt"
	"strconv"
	"strings"
)

// ContentRange says which part of a resource a server sends (RFC 9110,
// section 14.4).
type ContentRange struct {
	From, To int64 // first byte, and the one behind the last
	Total    int64 // of the whole; -1 when the server does not tell
}

// ParseContentRange reads the value of a Content-Range header. Only one way to
// write it is accepted: a number with a sign or white space inside is what
// another reader may understand differently.
func ParseContentRange(s string) (ContentRange, error) {
	bad := func() (ContentRange, error) {
		return ContentRange{}, fmt.Errorf("malformed Content-Range %q", s)
	}
	unit, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return bad()
	}
	span, whole, ok := strings.Cut(rest, "/")
	if !ok {
		return bad()
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		return bad()
	}
	a, okA := parseDigits(first)
	b, okB := parseDigits(last)
	total, okT := parseDigits(whole)
	if whole == "*" {
		total, okT = -1, true
	}
	if !okA || !okB || !okT || a > b || total >= 0 && b >= total {
		return bad()
	}
	return ContentRange{a, b + 1, total}, nil
}

// parseDigits reads a number that consists of digits alone. The largest one is
// left out: the byte behind it could not be named.
func parseDigits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n+1 > 0
}
