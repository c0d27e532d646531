package pack

import (
	"strings"
	"testing"
)

func TestGlobs(t *testing.T) {
	for _, tc := range []struct {
		glob, yes, no string
	}{
		{"*.efi", "x.efi EFI/BOOT/x.efi d.efi/x", "x.efi.bak efi"},
		{"EFI", "EFI EFI/x a/EFI/b", "EFIX a/efi"},
		{"EFI/", "EFI/x a/EFI", "EFIX"},
		{"/EFI/*", "EFI/x EFI/x/y", "EFI a/EFI/x"},
		{"a/b", "a/b a/b/c", "a x/a/b a/bb"},
		{"**/x", "x a/x a/b/x a/x/y", "ax"},
		{"a/**", "a a/b a/b/c", "b"},
		{"a/**/x", "a/x a/b/x a/b/c/x a/x/b", "a/b x b/x"},
		{"a/**/b/**/c", "a/b/c a/1/b/2/3/c", "a/c a/b/d"},
		{"[a-c]?/x", "a1/x", "d1/x a/x"},
	} {
		f, err := newFilter([]string{tc.glob}, []string{tc.glob})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(tc.yes) {
			if !f.included(name) || !f.excluded(name) {
				t.Errorf("%q does not match %q", tc.glob, name)
			}
		}
		for _, name := range strings.Fields(tc.no) {
			if f.included(name) || f.excluded(name) {
				t.Errorf("%q matches %q", tc.glob, name)
			}
		}
	}
	for _, bad := range []string{"", "/", "[a", "a//b", "../x", "a/./b", `a\`} {
		if _, err := newFilter(nil, []string{bad}); exitCode(err) != 2 {
			t.Errorf("glob %q: %v", bad, err)
		}
	}
}

func FuzzGlob(f *testing.F) {
	f.Add("a/**/x", "a/b/x")
	f.Add("*.efi", "EFI/BOOT/x.efi")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		fl, err := newFilter(nil, []string{pattern})
		if err != nil || name == "" {
			return
		}
		// What is below something excluded is excluded too.
		if fl.excluded(name) && !fl.excluded(name+"/below") {
			t.Errorf("%q matches %q but not what is below", pattern, name)
		}
	})
}
