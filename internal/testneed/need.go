// Package testneed is how tests ask for what not every machine has: real programs,
// and packages of Debian. Without them a test skips, so that a builder needs nothing
// but Go; unless NBPACK_TEST_STRICT is set, as .ci/run does where it installed them
// all: there it fails, because nobody reads the list of what was skipped.
package testneed

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Missing ends a test for what the machine lacks. What skips on every machine, or for
// the rights of who runs it, calls t.Skip.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if strict() {
		t.Fatalf(format+" (a test may not skip: NBPACK_TEST_STRICT is set)", args...)
	}
	t.Skipf(format, args...)
}

func strict() bool { return os.Getenv("NBPACK_TEST_STRICT") != "" }

// Tool gives the path of a program that the test cannot do without. It is looked for
// in the directory that NBPACK_TEST_TOOLS names, then on the path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path := find(name)
	if path == "" {
		Missing(t, "%s is not installed", name)
	}
	return path
}

// Extra is Tool for a program that the test asks besides: "" where it is missing.
func Extra(t testing.TB, name string) string {
	t.Helper()
	path := find(name)
	switch {
	case path == "" && strict():
		Missing(t, "%s is not installed", name)
	case path == "":
		t.Logf("%s is not installed, and is not asked", name)
	}
	return path
}

func find(name string) string {
	for _, at := range []string{filepath.Join(os.Getenv("NBPACK_TEST_TOOLS"), name), name} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	return ""
}

var execCondition = regexp.MustCompile(`(?m)^\[!?exec:([^\]]+)\]`)

// Scripts asks for every program that is a condition of a script of testscript below
// dir. A script without one skips, or leaves out lines, by itself, so that this
// only matters where nothing may be skipped.
func Scripts(t testing.TB, dir string) {
	t.Helper()
	if !strict() {
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %q: %v", dir, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range execCondition.FindAllSubmatch(b, -1) {
			if find(string(m[1])) == "" {
				t.Errorf("%s is not installed, which %s asks for", m[1], file)
			}
		}
	}
}

// Deb gives the file of a package of Debian in the directory that NBPACK_TEST_DEBS
// names; apt-get download puts them there. name is that of the package, and may be a
// pattern; of several the last by name is taken.
func Deb(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("NBPACK_TEST_DEBS")
	if dir == "" {
		Missing(t, "NBPACK_TEST_DEBS names no directory with Debian's packages")
	}
	found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		Missing(t, "%s has no package %s", dir, name)
	}
	return found[len(found)-1]
}
