package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// TestList reads one list as a file and as standard input.
func TestList(t *testing.T) {
	const text = "# images\n\nregistry.example/a:v1   # the first\r\n\tubuntu\ndocker://registry.example/b"
	want := []string{"registry.example/a:v1", "ubuntu", "docker://registry.example/b"}
	file := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, "-"} {
		l, err := ReadList(name, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		if err := l.Each(func(s string) error { got = append(got, s); return nil }); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestListMistakes: messages name the lines, and the advice for them is kept.
func TestListMistakes(t *testing.T) {
	refuse := func(s string) error {
		if s == "good" {
			return nil
		}
		return WithHint(errors.New("no reference: "+s), "write good")
	}
	each := func(text string) error {
		l, err := ReadList("-", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return l.Each(refuse)
	}
	for text, want := range map[string][]string{
		"good\n\nbad":                 {"standard input:3: no reference: bad"},
		"bad\ngood\nworse\n":          {"standard input:1: no reference: bad", "standard input:3: no reference: worse"},
		strings.Repeat("bad\n", 1000): {"standard input:20: ", "\nand 980 more"},
		strings.Repeat("x", 1<<20):    {"standard input:1: "}, // a line of any length
	} {
		err := each(text)
		if ExitCode(err) != ExitUsage || Hint(err) != "write good" {
			t.Errorf("%.20q: %v", text, err)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.20q: no %q in %v", text, w, err)
			}
		}
		if strings.Contains(err.Error(), "standard input:21:") {
			t.Errorf("too many: %v", err)
		}
	}
}

// TestListUnreadable reads what is too long, broken and not there.
func TestListUnreadable(t *testing.T) {
	if _, err := ReadList("-", strings.NewReader(strings.Repeat("\n", maxList))); err != nil {
		t.Error(err)
	}
	if _, err := ReadList("-", strings.NewReader(strings.Repeat("\n", maxList+1))); ExitCode(err) != ExitUsage {
		t.Errorf("too long: %v", err)
	}
	broken := errors.New("broken")
	if _, err := ReadList("-", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("broken: %v", err)
	}
	if _, err := ReadList(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not there: %v", err)
	}
}
