package spec

import (
	"io/fs"
	"path"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCheckPath(t *testing.T) {
	long := strings.Repeat("a", MaxElementLen)
	for _, p := range []string{
		"a", "a/b/c", "EFI/BOOT/BOOTX64.EFI", "pxelinux.cfg/01-aa", "a b", " ", "-rf", "ä/ö", "...", "a..b", ".wh", "wh.x", ".disk/info",
		"by-digests", "x/by-digest", ".nbextract2", "nbextract", long, long + "/" + long,
		strings.TrimSuffix(strings.Repeat("a/", MaxPathDepth), "/"), "\u202e", "C:x",
	} {
		if err := CheckPath(p); err != nil {
			t.Errorf("CheckPath(%q) = %v", p, err)
		}
	}
	for p, rule := range map[string]string{
		"": RulePath, ".": RulePath, "..": RulePath, "/": RulePath, "/a": RulePath, "a/": RulePath, "a//b": RulePath,
		"./a": RulePath, "a/.": RulePath, "a/../b": RulePath, "../a": RulePath, `a\b`: RulePath, `..\a`: RulePath,
		"a\x00b": RulePath, "a\nb": RulePath, "a\tb": RulePath, "\x7f": RulePath, "a\u0085b": RulePath, "\xff": RulePath,
		long + "a": RulePath, strings.Repeat("a/", MaxPathDepth) + "a": RulePath, strings.Repeat("ab/", MaxPathLen/3) + "ab": RulePath,
		".wh.a": RuleWhiteout, "a/.wh..wh..opq": RuleWhiteout,
		".nbextract": RulePathReserved, "a/.NBExtract/b": RulePathReserved, "by-digest/x": RulePathReserved, "BY-DIGEST": RulePathReserved,
		"by-dige\u017ft": RulePathReserved, // long s folds to s
	} {
		wantRule(t, CheckPath(p), rule)
	}
}

func TestCleanTarName(t *testing.T) {
	for name, want := range map[string]string{
		".": ".", "./": ".", "/": ".", "a": "a", "./a": "a", "a/": "a", "./a/b/": "a/b", "./a/b": "a/b",
	} {
		if got, err := CleanTarName(name); err != nil || got != want {
			t.Errorf("CleanTarName(%q) = %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "//", "..", "../", "/a", "././a", ".//a", "a//", "./.", "./..", "./../a", "a/./", "a/../"} {
		got, err := CleanTarName(name)
		if err == nil {
			t.Errorf("CleanTarName(%q) = %q", name, got)
		} else {
			wantRule(t, err, RulePath)
		}
	}
}

func TestCheckLink(t *testing.T) {
	for _, test := range [][2]string{
		{"a", "b"}, {"a", "b/c"}, {"a/b", "../c"}, {"a/b", ".."}, {"a", "."}, {"a/b/c", "../../d"}, {"a", "b/"}, {"a", "./b//c"},
		{"a/b", "c/../../d"}, {"x/a", "by-digest"},
	} {
		if err := CheckLink(test[0], test[1]); err != nil {
			t.Errorf("CheckLink(%q, %q) = %v", test[0], test[1], err)
		}
	}
	for _, test := range [][2]string{
		{"a", ""}, {"a", "/"}, {"a", "/b"}, {"a", ".."}, {"a", "../b"}, {"a/b", "../../c"}, {"a", "b/../../c"}, {"a", "a"}, {"d/a", "../d/a"},
		{"a", "b\x00"}, {"a", "b\nc"}, {"a", `b\c`}, {"a", "\xff"}, {"a", ".nbextract/x"}, {"a/b", "../BY-digest/x"}, {"a", ".wh.b"},
		{"a", strings.Repeat("b/", MaxPathLen)},
	} {
		wantRule(t, CheckLink(test[0], test[1]), RuleLinkTarget)
	}
}

func TestFoldKey(t *testing.T) {
	for _, test := range [][2]string{
		{"a", "A"}, {"EFI/Boot", "efi/BOOT"}, {"k", "\u212A"}, {"s", "\u017f"}, {"ä", "Ä"}, {"σ", "ς"}, {"å", "\u212B"}, {"ᏸ", "Ᏸ"},
	} {
		if FoldKey(test[0]) != FoldKey(test[1]) {
			t.Errorf("%q and %q have different keys", test[0], test[1])
		}
	}
	for _, test := range [][2]string{{"a", "b"}, {"a/b", "a-b"}, {"ı", "i"}, {"0", "O"}} {
		if FoldKey(test[0]) == FoldKey(test[1]) {
			t.Errorf("%q and %q have the same key", test[0], test[1])
		}
	}
}

// safePath is what everybody who writes files relies on, said without the code
// under test.
func safePath(p string) bool {
	return p != "." && fs.ValidPath(p) && path.Clean(p) == p && utf8.ValidString(p) && len(p) <= 4096 &&
		!strings.ContainsFunc(p, unicode.IsControl) && !strings.ContainsAny(p, "\\\x00") &&
		!strings.Contains("/"+p, "/.wh.") && !strings.Contains("/"+strings.ToLower(p)+"/", "/.nbextract/") &&
		!strings.HasPrefix(strings.ToLower(p)+"/", "by-digest/")
}

func FuzzCleanTarName(f *testing.F) {
	for _, s := range []string{".", "./", "./a/", "a/../b", "/a", "a\\b", "by-digest/x", ".wh.x", "\xff", "a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, err := CleanTarName(name)
		if err != nil || p == "." {
			return
		}
		if !safePath(p) {
			t.Errorf("%q gives %q, which is not safe", name, p)
		}
		if again, err := CleanTarName(p); err != nil || again != p {
			t.Errorf("%q gives %q, and that gives %q, %v", name, p, again, err)
		}
		if !strings.Contains(name, p) {
			t.Errorf("%q gives %q", name, p)
		}
	})
}

func FuzzCheckLink(f *testing.F) {
	for _, s := range []string{"b", "../b", "/b", "b/../../c", "..", ".", ".nbextract"} {
		f.Add("a/x", s)
	}
	f.Fuzz(func(t *testing.T, p, target string) {
		if CheckPath(p) != nil || CheckLink(p, target) != nil {
			return
		}
		led := path.Clean(path.Dir(p) + "/" + target)
		if path.IsAbs(target) || led != "." && !safePath(led) {
			t.Errorf("the link %q to %q leads to %q", p, target, led)
		}
	})
}

func FuzzFoldKey(f *testing.F) {
	f.Add("Kernel")
	f.Add("\u212A\u017f")
	f.Fuzz(func(t *testing.T, s string) {
		key := FoldKey(s)
		if FoldKey(key) != key {
			t.Errorf("key %q of %q has another key", key, s)
		}
		if utf8.ValidString(s) && !strings.EqualFold(s, key) {
			t.Errorf("%q has the key %q", s, key)
		}
	})
}
