package main

import (
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nbpack/nbpack/internal/testneed"
	"github.com/nbpack/nbpack/internal/testserver"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"nbpack": main})
}

// TestScript runs the real command, as a process of its own.
func TestScript(t *testing.T) {
	testneed.Scripts(t, "testdata/script")
	short := testserver.ShortDir(t) // scripts take names of their own below it
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_RUNTIME_DIR", env.WorkDir)
			env.Setenv("SHORT", short)
			// Tools that no distribution packages.
			if dir := os.Getenv("NBPACK_TEST_TOOLS"); dir != "" {
				env.Setenv("PATH", env.Getenv("PATH")+string(os.PathListSeparator)+dir)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails":        fails,
			"lints":        lints,
			"realregistry": realRegistry,
			"registry":     startRegistry,
			"setstdout": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
			},
			"same":      same,
			"setdigest": setDigest,
		},
	})
}

// fails CODE COMMAND...: the command ends with this exit code, prints nothing on
// standard output and exactly one error line, perhaps with a hint line.
func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("%v ended with %v, want exit code %d", args[1:], err, want)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("unexpected output: %q", out)
	}
	errorLines, hintLines := 0, 0
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		switch {
		case strings.HasPrefix(line, "nbpack: error: "):
			errorLines++
		case strings.HasPrefix(line, "nbpack: hint: "):
			hintLines++
		case !strings.HasPrefix(line, "nbpack: warning: "):
			ts.Fatalf("odd line %q", line)
		}
	}
	if errorLines != 1 || hintLines > 1 {
		ts.Fatalf("%d error lines, %d hint lines", errorLines, hintLines)
	}
}

// lints ARGUMENT...: nbpack lint finds nothing to say of the image but that the
// files of these scripts are placeholders.
func lints(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: lints ARGUMENT...")
	}
	ts.Check(ts.Exec("nbpack", append([]string{"lint"}, args...)...))
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if !strings.HasPrefix(line, "info ") && !strings.HasPrefix(line, "warning efi-format ") {
			ts.Fatalf("lint says: %s", line)
		}
	}
}

// registry NAME: starts a registry and sets $NAME to its host and port.
func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: registry NAME")
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

// setdigest NAME REGEXP: sets $NAME to what the group of REGEXP matches first in
// standard output.
func setDigest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setdigest NAME REGEXP")
	}
	m := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("%q matches nothing", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// same A B...: the values are equal and not empty.
func same(ts *testscript.TestScript, neg bool, args []string) {
	for _, a := range args {
		if neg || a == "" || a != args[0] {
			ts.Fatalf("values differ or are empty: %q", args)
		}
	}
}
