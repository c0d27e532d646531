package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

type duration time.Duration

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}

type shared struct {
	Keep *int `yaml:"keep"`
}

type sample struct {
	Place
	Name   string            `yaml:"name"`
	On     bool              `yaml:"on-boot"`
	Wait   duration          `yaml:"wait"`
	Set    map[string]string `yaml:"set"`
	Tags   []string          `yaml:"tags"`
	Common shared            `yaml:",inline"`
	Items  []sample          `yaml:"items"`
}

func decode(t *testing.T, text string) (sample, error) {
	t.Helper()
	var s sample
	err := Decode("f.yaml", []byte(text), &s)
	return s, err
}

func TestDecode(t *testing.T) {
	s, err := decode(t, `# a comment
name: 1.10
on-boot: true
wait: 2h
set: &set {os.name: fedora, os.version: 42}
tags: [yes, 0x10, "a b"]
keep: 3
items:
  - {name: no, set: *set}
  - tags: one
`)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "1.10" || !s.On || s.Wait != duration(2*time.Hour) || *s.Common.Keep != 3 ||
		strings.Join(s.Tags, "|") != "yes|0x10|a b" || s.Items[0].Name != "no" || s.Items[0].Set["os.version"] != "42" ||
		len(s.Items[1].Tags) != 1 || s.Items[1].Common.Keep != nil {
		t.Errorf("%+v", s)
	}
	if at := s.Items[1].At("tags"); at.Line() != 10 || !s.Items[1].Has("tags") || s.Items[1].Has("name") {
		t.Errorf("line %d", at.Line())
	}
	if got := s.At("items", 0, "set", "os.name").Errorf("is %d", 1).Error(); got != "f.yaml:5: items[0].set.os.name: is 1" {
		t.Error(got)
	}
	if got := s.At("items", 1, "name").Errorf("missing").Error(); got != "f.yaml:10: items[1].name: missing" {
		t.Error(got)
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "f.yaml: file is empty"},
		{"only a comment", "# x\n", "f.yaml: file is empty"},
		{"syntax", "a: b\n c: d: e\n", "f.yaml:2: not YAML: "},
		{"unknown key", "name: x\nfoo: 1\n", "f.yaml:2: foo: unknown key"},
		{"misspelt key", "items:\n- nmae: x\n", `f.yaml:2: items[0].nmae: unknown key; did you mean "name"?`},
		{"key twice", "name: x\nwait: 1h\nname: y\n", "f.yaml:3: name: the key occurs twice, first in line 1"},
		{"map key twice", "set:\n  a: 1\n  a: 2\n", "f.yaml:3: set.a: the key occurs twice, first in line 2"},
		{"no value", "name:\nwait: 1h\n", "f.yaml:1: name: has no value"},
		{"number", "keep: two\n", `f.yaml:1: keep: want a whole number, not "two"`},
		{"quoted number", "keep: \"2\"\n", `f.yaml:1: keep: want a whole number, not "2"`},
		{"fraction", "keep: 2.5\n", "keep: want a whole number"},
		{"huge number", "keep: 99999999999999999999\n", "keep: want a whole number"},
		{"bool", "on-boot: yes\n", `on-boot: want true or false, not "yes"`},
		{"text", "wait: soon\n", "f.yaml:1: wait: time: invalid duration"},
		{"list for text", "wait: [1h]\n", "wait: want a plain value, not a list"},
		{"list for string", "name: [x]\n", "name: want a plain value, not a list"},
		{"mapping for string", "name: {a: b}\n", "name: want a plain value, not keys with values"},
		{"list for mapping", "- a\n", "f.yaml:1: want keys with values, not a list"},
		{"string for mapping", "set: x\n", `f.yaml:1: set: want keys with values, not "x"`},
		{"complex key", "? [a]\n: b\n", "a key must be a plain word"},
		{"two documents", "name: x\n---\nname: y\n", "f.yaml:2: a second document begins here"},
		{"rubbish behind", "name: x\n---\n]\n", "not YAML"},
		{"alias without anchor", "name: *x\n", "not YAML"},
		{"too long", "name: " + strings.Repeat("x", MaxSize), "at most 1048576"},
		{"bomb", bomb(), "aliases make too much"},
		{"loop", "items: &a\n- items: *a\n", "aliases make too much"},
		{"control character in a key", "\"a\\nb\": 1\n", `f.yaml:1: "a\nb": unknown key`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := decode(t, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			var coder interface{ ExitCode() int }
			if !errors.As(err, &coder) || coder.ExitCode() != 2 {
				t.Error("not a usage error")
			}
		})
	}
}

// bomb is a list of lists of lists, each the one before ten times.
func bomb() string {
	var b strings.Builder
	b.WriteString("items:\n- &l0 {items: [{name: x}]}\n")
	for i := range 8 {
		b.WriteString("- &l" + string(rune('1'+i)) + " {items: [" + strings.TrimSuffix(strings.Repeat("*l"+string(rune('0'+i))+", ", 10), ", ") + "]}\n")
	}
	return b.String()
}

func TestDecodeTellsAll(t *testing.T) {
	_, err := decode(t, "name: [x]\nkeep: y\nfoo: z\n")
	if got := strings.Count(err.Error(), "\n"); got != 2 {
		t.Errorf("want three lines, got %v", err)
	}
	var one *Error
	if errs := (Errors)(nil); !errors.As(err, &errs) || len(errs) != 3 || errs[2].Line != 3 {
		t.Errorf("%#v", one)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name: x\nitems: [{tags: a}]\n")
	f.Add(bomb())
	f.Add("? [a]\n: *b\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		var s sample
		err := Decode("f", []byte(text), &s)
		var errs Errors
		if err != nil && (!errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxErrors) {
			t.Fatalf("%#v", err)
		}
		_ = s.At("items", 0, "name").Errorf("x").Error()
	})
}
