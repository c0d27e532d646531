package spec

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ruleConsts gives the values of the Rule… constants as the source has them.
func ruleConsts(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(v.Names[0].Name, "Rule") {
			id, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		return true
	})
	return ids
}

// TestRulesComplete proves that constants, table and document have the same
// rules in the same order, with the same severity.
func TestRulesComplete(t *testing.T) {
	var table []string
	var described []string
	for _, r := range Rules() {
		table = append(table, r.ID)
		described = append(described, fmt.Sprintf("%s %s", r.ID, r.Severity))
		if r.Summary == "" {
			t.Errorf("rule %s has no summary", r.ID)
		}
	}
	if consts := ruleConsts(t); !slices.Equal(consts, table) {
		t.Errorf("constants %q\ntable     %q", consts, table)
	}
	doc, err := os.ReadFile("netboot.md")
	if err != nil {
		t.Fatal(err)
	}
	var written []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (error|warning) \\|").FindAllSubmatch(doc, -1) {
		written = append(written, fmt.Sprintf("%s %s", m[1], m[2]))
	}
	if !slices.Equal(written, described) {
		t.Errorf("netboot.md %q\ncode       %q", written, described)
	}
}

// TestRulesUsed proves that a refusal made anywhere in this package names a
// constant: an id written by hand could be missing from the table.
func TestRulesUsed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	byHand := regexp.MustCompile(`(Refuse|report)\("`)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := byHand.Find(b); m != nil && !strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s has %s", name, m)
		}
	}
}

func TestRefusal(t *testing.T) {
	cause := errors.New("cause")
	r := Refuse(RulePath, "a\nb", "is bad: %w", cause)
	if got, want := r.Error(), `"a\nb": is bad: cause [path]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !errors.Is(r, cause) || r.ExitCode() != 3 || r.Hint() != "rename the file" {
		t.Errorf("refusal %#v", r)
	}
	if got := (&Refusal{Reason: "x"}).Error(); got != "x" {
		t.Errorf("got %s", got)
	}
	if Refuse("no-such-rule", "", "x").Hint() != "" {
		t.Error("advice for an unknown rule")
	}
}

func TestFirstError(t *testing.T) {
	v := []Violation{
		{Rule: RuleMode, Severity: SeverityWarning, Path: "w"},
		{Rule: RulePath, Severity: SeverityError, Path: "p", Message: "first", Advice: "do"},
		{Rule: RuleDigest, Severity: SeverityError},
		{Rule: RuleSize}, // no severity: never a default OK
	}
	err := FirstError(v)
	var r *Refusal
	if !errors.As(err, &r) || r.Error() != `"p": first (and 2 more) [path]` || r.Advice != "do" {
		t.Errorf("got %v", err)
	}
	if err := FirstError(v[:1]); err != nil {
		t.Errorf("warnings alone give %v", err)
	}
	if FirstError(v[3:]) == nil {
		t.Error("violation without severity counts as nothing")
	}
}

// wantRule fails unless err is a refusal by this rule.
func wantRule(t *testing.T, err error, rule string) {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Errorf("got %v, want a refusal by %s", err, rule)
	} else if r.Rule != rule {
		t.Errorf("got %v, want rule %s", err, rule)
	}
}
