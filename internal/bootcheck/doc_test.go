package bootcheck

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/nbpack/nbpack/spec"
)

// TestDocument proves that docs/lint.md lists every rule, in order, and that each
// has a remedy, or is only mentioned.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	var written, rules []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (\\w+) \\| (.+) \\|$").FindAllSubmatch(doc, -1) {
		written = append(written, fmt.Sprintf("%s %s %s", m[1], m[2], m[3]))
	}
	seen := map[string]bool{}
	for _, r := range append(Rules(), spec.Rules()...) {
		rules = append(rules, fmt.Sprintf("%s %s %s", r.ID, r.Severity, r.Summary))
		if seen[r.ID] || r.Summary == "" || r.Advice == "" && r.Severity != SeverityInfo {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
	for i := range max(len(written), len(rules)) {
		if i >= len(written) || i >= len(rules) || written[i] != rules[i] {
			t.Fatalf("line %d differs:\nlint.md %q\ncode    %q", i, written[min(i, len(written)-1)], rules[min(i, len(rules)-1)])
		}
	}
}

// TestRulesReported proves that each finding has a rule of the table: a made-up id
// would take the severity of another.
func TestRulesReported(t *testing.T) {
	byHand := regexp.MustCompile(`report\("`)
	for _, name := range []string{"pairs.go", "secureboot.go", "names.go"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := byHand.Find(b); m != nil {
			t.Errorf("%s has %s", name, m)
		}
	}
}
