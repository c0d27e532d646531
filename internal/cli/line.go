package cli

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// OneLine makes a message fit for one line of a terminal or a log: line breaks
// (as errors.Join writes them) become "; ", and every other character that does
// not print, such as an escape sequence in a file name, is shown escaped. So
// text from an image or a registry can neither forge a second line nor drive
// the terminal.
func OneLine(s string) string {
	s = strings.TrimRight(s, "\r\n")
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n':
			b.WriteString("; ")
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		i += n
	}
	return b.String()
}
