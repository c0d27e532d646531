package spec

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

const (
	sumA = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	sumB = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
)

func TestParseSums(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []Sum
	}{
		"empty":       {"", nil},
		"two":         {sumA + "  a\n" + sumB + "  b/c\n", []Sum{{"a", sumA}, {"b/c", sumB}}},
		"unsorted":    {sumB + "  b\n" + sumA + "  a\n", []Sum{{"b", sumB}, {"a", sumA}}},
		"no last end": {sumA + "  a", []Sum{{"a", sumA}}},
		"binary":      {sumA + " *a\n", []Sum{{"a", sumA}}},
		"CRLF":        {sumA + "  a\r\n" + sumB + " *b\r\n", []Sum{{"a", sumA}, {"b", sumB}}},
		"dot":         {sumA + "  ./a\n", []Sum{{"a", sumA}}},
		"upper case":  {strings.ToUpper(sumA) + "  a\n", []Sum{{"a", sumA}}},
		"blanks":      {sumA + "   a  b \n", []Sum{{" a  b ", sumA}}},
		"star":        {sumA + "  *a\n", []Sum{{"*a", sumA}}},
	} {
		got, err := ParseSums([]byte(test.text))
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestParseSumsRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, rule string }{
		"BSD":               {"SHA256 (a) = " + sumA + "\n", RuleSumsSyntax},
		"one space":         {sumA + " a\n", RuleSumsSyntax},
		"tab":               {sumA + "\ta\n", RuleSumsSyntax},
		"no name":           {sumA + "  \n", RuleSumsSyntax},
		"no hash":           {"  a\n", RuleSumsSyntax},
		"short":             {sumA[1:] + "  a\n", RuleSumsSyntax},
		"sha1":              {sumA[:40] + "  a\n", RuleSumsSyntax},
		"not hex":           {"g" + sumA[1:] + "  a\n", RuleSumsSyntax},
		"empty line":        {sumA + "  a\n\n", RuleSumsSyntax},
		"comment":           {"# a\n", RuleSumsSyntax},
		"byte order mark":   {"\ufeff" + sumA + "  a\n", RuleSumsSyntax},
		"NUL ends":          {sumA + "  a\x00", RuleSumsSyntax},
		"twice":             {sumA + "  a\n" + sumA + "  a\n", RuleSumsSyntax},
		"twice by dot":      {sumA + "  a\n" + sumA + "  ./a\n", RuleSumsSyntax},
		"case twins":        {sumA + "  a\n" + sumB + "  A\n", RuleSumsSyntax},
		"climbing":          {sumA + "  ../a\n", RuleSumsSyntax},
		"absolute":          {sumA + "  /a\n", RuleSumsSyntax},
		"directory":         {sumA + "  a/\n", RuleSumsSyntax},
		"escaped backslash": {`\` + sumA + `  a\\b` + "\n", RuleSumsSyntax},
		"escaped newline":   {`\` + sumA + `  a\nb` + "\n", RuleSumsSyntax},
		"escaped CR":        {`\` + sumA + `  a\rb` + "\n", RuleSumsSyntax},
		"bad escape":        {`\` + sumA + `  a\tb` + "\n", RuleSumsSyntax},
		"open escape":       {`\` + sumA + `  a\` + "\n", RuleSumsSyntax},
		"raw backslash":     {sumA + `  a\b` + "\n", RuleSumsSyntax},
		"CR in the name":    {sumA + "  a\rb\n", RuleSumsSyntax},
		"itself":            {sumA + "  SHA256SUM\n", RuleSumsExtra},
		"itself by dot":     {sumA + "  ./SHA256SUM\n", RuleSumsExtra},
	} {
		got, err := ParseSums([]byte(test.text))
		if err == nil {
			t.Errorf("%s: accepted as %v", name, got)
			continue
		}
		wantRule(t, err, test.rule)
		if strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("%s: raw text in the message %q", name, err)
		}
	}
}

func TestParseSumsBounds(t *testing.T) {
	_, err := ParseSums(make([]byte, MaxSumsSize+1))
	wantRule(t, err, RuleDocumentSize)
	_, err = ParseSums(bytes.Repeat([]byte("\n"), MaxEntries+1))
	wantRule(t, err, RuleSumsSyntax)
	many := make([]Sum, MaxEntries+1)
	for i := range many {
		many[i] = Sum{Path: "f" + strings.Repeat("x", i%200) + string(rune('a'+i%26)) + "/" + string(rune(0x4e00+i/200)), SHA256: sumA}
	}
	_, err = ParseSums(FormatSums(many))
	if err == nil {
		t.Error("too many lines accepted")
	}
}

func TestFormatSums(t *testing.T) {
	in := []Sum{{"b", sumB}, {"a\\b\nc\rd", sumA}, {"a", sumA}, {"B", sumB}}
	want := sumB + "  B\n" + sumA + "  a\n" + `\` + sumA + `  a\\b\nc\rd` + "\n" + sumB + "  b\n"
	if got := string(FormatSums(in)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if in[0].Path != "b" {
		t.Error("the argument was sorted")
	}
	if got := FormatSums(nil); len(got) != 0 {
		t.Errorf("nothing gives %q", got)
	}
}

func FuzzParseSums(f *testing.F) {
	f.Add([]byte(sumA + "  a\n" + sumB + " *./b\r\n"))
	f.Add([]byte(`\` + sumA + `  a\\b` + "\n"))
	f.Add([]byte("SHA256 (a) = " + sumA))
	f.Fuzz(func(t *testing.T, b []byte) {
		sums, err := ParseSums(b)
		if err != nil {
			return
		}
		seen := make(map[string]bool)
		for _, s := range sums {
			if !safePath(s.Path) || len(s.SHA256) != 64 || strings.Trim(s.SHA256, "0123456789abcdef") != "" || seen[FoldKey(s.Path)] {
				t.Errorf("bad or repeated line %q", s)
			}
			seen[FoldKey(s.Path)] = true
		}
		text := FormatSums(sums)
		again, err := ParseSums(text)
		if err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		if !slices.IsSortedFunc(again, func(a, b Sum) int { return strings.Compare(a.Path, b.Path) }) || !bytes.Equal(FormatSums(again), text) {
			t.Errorf("round trip gives %q", text)
		}
	})
}
