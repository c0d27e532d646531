package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes nbextract a command of the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nbextract": main})
}

// TestScripts runs the real commands. nbpack, which makes the images, is built
// for it: the two programs must work together as they are shipped.
func TestScripts(t *testing.T) {
	nbpack, err := buildNbpack(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", filepath.Dir(nbpack)+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
	})
}

func buildNbpack(dir string) (string, error) {
	bin := filepath.Join(dir, "nbpack")
	cmd := exec.Command("go", "build", "-o", bin, "../nbpack")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build nbpack: %w\n%s", err, out)
	}
	return bin, nil
}
