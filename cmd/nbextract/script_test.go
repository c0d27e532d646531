package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nbpack/nbpack/internal/testneed"
)

// TestMain makes nbextract a command of the scripts.
func TestMain(m *testing.M) {
	testscript.Main(cleaner{m}, map[string]func(){"nbextract": main})
}

// cleaner removes what the tests share, after they ran.
type cleaner struct{ *testing.M }

// shared is the directory of what tests share.
var shared string

func (c cleaner) Run() int {
	var err error
	if shared, err = os.MkdirTemp("", "nbextract-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(shared)
	return c.M.Run()
}

// TestScripts runs the real commands. nbpack, which makes the images, is built
// for it: the two programs must work together as they are shipped.
func TestScripts(t *testing.T) {
	testneed.Scripts(t, "testdata/script")
	nbpack := nbpackPath(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(nbpack)+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
	})
}

// nbpackBinary is the program that makes the images, built once for all tests.
var nbpackBinary = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(shared, "nbpack")
	cmd := exec.Command("go", "build", "-o", bin, "../nbpack")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build nbpack: %w\n%s", err, out)
	}
	return bin, nil
})

// nbpackPath gives the program, or ends the test.
func nbpackPath(t *testing.T) string {
	t.Helper()
	bin, err := nbpackBinary()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}
