package spec

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// Sum is one line of SHA256SUM.
type Sum struct {
	Path   string // clean path of a regular file
	SHA256 string // lower-case hex
}

// sumLine is what sha256sum writes: checksum, a space, a space or the mark of
// binary mode, name.
var sumLine = regexp.MustCompile(`(?s)^([0-9a-fA-F]{64}) [ *](.+)$`)

// ParseSums reads a SHA256SUM file as GNU sha256sum writes it: text or binary
// marks, lines that begin with a backslash because their name is escaped. Lines
// may end with CRLF, names may begin with "./", the last line may lack its end.
// A name twice, names that differ only by case, a bad name and the BSD style are
// refused. The order of the lines is kept.
func ParseSums(b []byte) ([]Sum, error) {
	if len(b) > MaxSumsSize {
		return nil, Refuse(RuleDocumentSize, SumsName, "%d bytes are more than %d", len(b), MaxSumsSize)
	}
	var sums []Sum
	seen := make(map[string]string)
	number := 0
	for line := range bytes.Lines(b) {
		number++
		if number > MaxEntries {
			return nil, Refuse(RuleEntryCount, SumsName, "more than %d lines", MaxEntries)
		}
		sum, err := parseSumLine(number, string(line))
		if err != nil {
			return nil, err
		}
		key := FoldKey(sum.Path)
		if other, ok := seen[key]; ok {
			return nil, Refuse(RuleSumsSyntax, SumsName, "line %d: %q is already listed as %q", number, sum.Path, other)
		}
		seen[key] = sum.Path
		sums = append(sums, sum)
	}
	return sums, nil
}

func parseSumLine(number int, line string) (Sum, error) {
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	rest, escaped := strings.CutPrefix(line, `\`)
	match := sumLine.FindStringSubmatch(rest)
	if match == nil {
		return Sum{}, Refuse(RuleSumsSyntax, SumsName, "line %d is not a line of sha256sum: %q", number, shorten(line))
	}
	name := match[2]
	if escaped {
		var ok bool
		if name, ok = unescapeName(name); !ok {
			return Sum{}, Refuse(RuleSumsSyntax, SumsName, "line %d has a bad escape: %q", number, shorten(line))
		}
	}
	name = strings.TrimPrefix(name, "./")
	if err := CheckPath(name); err != nil {
		return Sum{}, Refuse(RuleSumsSyntax, SumsName, "line %d: %s", number, why(err))
	}
	if name == SumsName {
		return Sum{}, Refuse(RuleSumsExtra, SumsName, "line %d lists SHA256SUM itself", number)
	}
	return Sum{Path: name, SHA256: strings.ToLower(match[1])}, nil
}

// FormatSums writes the lines of sha256sum in text mode, sorted by path.
func FormatSums(s []Sum) []byte {
	sorted := slices.SortedFunc(slices.Values(s), func(a, b Sum) int { return strings.Compare(a.Path, b.Path) })
	var b bytes.Buffer
	for _, sum := range sorted {
		name := nameEscaper().Replace(sum.Path)
		if name != sum.Path {
			b.WriteByte('\\') // tells readers that the name is escaped
		}
		b.WriteString(sum.SHA256 + "  " + name + "\n")
	}
	return b.Bytes()
}

// nameEscaper writes the three bytes that sha256sum escapes.
func nameEscaper() *strings.Replacer {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
}

func unescapeName(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", false
		}
		switch s[i] {
		case '\\':
			b.WriteByte('\\')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		default:
			return "", false
		}
	}
	return b.String(), true
}

// shorten keeps messages about hostile text in one line.
func shorten(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
