package containerfiles_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nbpack/nbpack/internal/testneed"
)

// need skips a test whose tools are missing; .ci/run installs them.
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		testneed.Tool(t, tool)
	}
}

// command runs a program that must succeed and gives its standard output.
func command(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	out, errs, err := try(t, nil, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, errs)
	}
	return out
}

// try runs a program with additional environment.
func try(t *testing.T, env []string, name string, args ...string) (stdout, stderr []byte, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.Bytes(), errs.Bytes(), err
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// buildCommands builds both commands as a user does and tells where they are.
func buildCommands(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	commands := map[string]string{}
	for _, name := range []string{"nbpack", "nbextract"} {
		commands[name] = filepath.Join(dir, name)
		command(t, "go", "build", "-o", commands[name], "../cmd/"+name)
	}
	return commands
}
