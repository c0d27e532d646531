package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// coded is an error as the other packages make them.
type coded struct {
	code int
	hint string
}

func (e coded) Error() string { return "no \"\x1b[31m\" here" }
func (e coded) ExitCode() int { return e.code }
func (e coded) Hint() string  { return e.hint }

// testApp is a program whose command "do" calls f.
func testApp(f func(ctx context.Context, env *Env) error) App {
	return App{Name: "prog", Root: func(env *Env) *cobra.Command {
		root := &cobra.Command{Use: "prog"}
		do := &cobra.Command{
			Use:  "do",
			Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, _ []string) error { return f(cmd.Context(), env) },
		}
		var flags RegistryFlags
		flags.Bind(do.Flags())
		do.Flags().IntP("keep", "k", 2, "")
		do.Flags().Bool("force", false, "")
		do.Flags().Duration("grace", 0, "")
		group := &cobra.Command{Use: "group"}
		group.AddCommand(&cobra.Command{Use: "inner", Run: func(*cobra.Command, []string) {}})
		root.AddCommand(do, group)
		return root
	}}
}

func TestRun(t *testing.T) {
	plain := errors.New("broken")
	for _, tc := range []struct {
		name   string
		args   string
		err    error
		code   int
		stderr string
	}{
		{"done", "do x", nil, 0, ""},
		{"failed", "do x", plain, 1, "prog: error: broken\n"},
		{"wrapped refusal", "do x", fmt.Errorf("reading: %w", coded{3, "look away"}), 3,
			"prog: error: reading: no \"\\x1b[31m\" here\nprog: hint: look away\n"},
		{"joined", "do x", errors.Join(plain, coded{4, ""}), 4, "prog: error: broken; no \"\\x1b[31m\" here\n"},
		{"usage", "do x", Usage("both %d", 2), 2, "prog: error: both 2\n"},
		{"hint", "do x", WithHint(plain, "mend it"), 1, "prog: error: broken\nprog: hint: mend it\n"},
		{"no such file", "do x", fmt.Errorf("reading: %w", &fs.PathError{Op: "open", Path: "f", Err: fs.ErrNotExist}), 4,
			"prog: error: reading: open f: file does not exist\n"},
		{"no such file, refused", "do x", errors.Join(fs.ErrNotExist, coded{3, ""}), 3, "prog: error: file does not exist; no \"\\x1b[31m\" here\n"},
		{"unknown flag", "do --nosuch x", nil, 2, "prog: error: unknown flag: --nosuch\nprog: hint: see prog do --help\n"},
		{"argument count", "do", nil, 2, "prog: error: accepts 1 arg(s), received 0\nprog: hint: see prog do --help\n"},
		{"bad value", "do --tls-verify=maybe x", nil, 2,
			"prog: error: invalid argument \"maybe\" for \"--tls-verify\" flag: want true or false, got \"maybe\"\nprog: hint: see prog do --help\n"},
		{"bad level", "do --log-level=loud x", nil, 2,
			"prog: error: invalid argument \"loud\" for \"--log-level\" flag: want one of error, warn, info, debug, got \"loud\"\nprog: hint: see prog do --help\n"},
		{"no number", "do -k x x", nil, 2, "prog: error: invalid argument \"x\" for \"--keep\" flag: want a whole number\nprog: hint: see prog do --help\n"},
		{"no truth", "do --force=x x", nil, 2, "prog: error: invalid argument \"x\" for \"--force\" flag: want true or false\nprog: hint: see prog do --help\n"},
		{"no time", "do --grace 5 x", nil, 2,
			"prog: error: invalid argument \"5\" for \"--grace\" flag: want a time such as 30s, 5m or 24h\nprog: hint: see prog do --help\n"},
		{"no command", "", nil, 2, "prog: error: prog needs a command\nprog: hint: see prog --help\n"},
		{"near command", "dp", nil, 2, "prog: error: prog has no command \"dp\"\nprog: hint: did you mean do?\n"},
		{"group", "group", nil, 2, "prog: error: prog group needs a command\nprog: hint: see prog group --help\n"},
		{"cancelled below", "do x", fmt.Errorf("reading: %w", context.Canceled), 130, "prog: error: reading: context canceled\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			app := testApp(func(context.Context, *Env) error { return tc.err })
			code := Run(t.Context(), app, strings.Fields(tc.args), &stdout, &stderr)
			if code != tc.code || stderr.String() != tc.stderr || stdout.Len() > 0 {
				t.Errorf("code %d, want %d\nstdout %q\nstderr %q\nwant   %q", code, tc.code, &stdout, &stderr, tc.stderr)
			}
		})
	}
}

func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	app := testApp(func(context.Context, *Env) error {
		cancel()
		return errors.New("write: file already closed")
	})
	code := Run(ctx, app, []string{"do", "x"}, &stderr, &stderr)
	if code != ExitInterrupted || stderr.String() != "prog: error: interrupted\n" {
		t.Errorf("code %d, stderr %q", code, &stderr)
	}
}

func TestLevels(t *testing.T) {
	for args, want := range map[string]string{
		"do x":                   "prog: warning: w\nprog: i\n",
		"do x -q":                "prog: warning: w\n",
		"do x --log-level=error": "",
		"do x --log-level=warn":  "prog: warning: w\n",
		"do x --log-level=debug": "prog: warning: w\nprog: i\nprog: debug: d\n",
	} {
		var stdout, stderr bytes.Buffer
		app := testApp(func(_ context.Context, env *Env) error {
			env.Warn("w")
			env.Info("i")
			env.Debug("d")
			env.Progress()("blob", 1, 2)
			return env.JSON(map[string]string{"a": "<b>"})
		})
		if code := Run(t.Context(), app, strings.Fields(args), &stdout, &stderr); code != 0 || stderr.String() != want {
			t.Errorf("%s: code %d, stderr %q, want %q", args, code, &stderr, want)
		}
		if stdout.String() != "{\n  \"a\": \"<b>\"\n}\n" {
			t.Errorf("%s: stdout %q", args, &stdout)
		}
	}
}

func TestVersionAndCompletion(t *testing.T) {
	app := testApp(nil)
	for args, want := range map[string]string{
		"--version":       "prog ",
		"version":         "prog ",
		"completion bash": "# bash completion",
		"do --help":       "Usage:",
	} {
		var stdout, stderr bytes.Buffer
		code := Run(t.Context(), app, strings.Fields(args), &stdout, &stderr)
		if code != 0 || !strings.Contains(stdout.String(), want) || stderr.Len() > 0 {
			t.Errorf("%s: code %d, stderr %q, stdout lacks %q: %.100q", args, code, &stderr, want, &stdout)
		}
	}
}

func TestManPagesAreReproducible(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	var pages [2]string
	for i := range pages {
		dir := filepath.Join(t.TempDir(), "man")
		var stderr bytes.Buffer
		if code := Run(t.Context(), testApp(nil), []string{"man", dir}, &stderr, &stderr); code != 0 {
			t.Fatalf("code %d: %s", code, &stderr)
		}
		page, err := os.ReadFile(filepath.Join(dir, "prog-do.1"))
		if err != nil {
			t.Fatal(err)
		}
		pages[i] = string(page)
	}
	if pages[0] != pages[1] || !strings.Contains(pages[0], "Jan 1970") {
		t.Errorf("pages differ or lack the date:\n%s", pages[0])
	}
}
