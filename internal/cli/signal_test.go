package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// childMode makes the test binary a program that uses Main: "polite" ends when
// its context does, "deaf" never.
const childMode = "CLI_TEST_CHILD"

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	os.Args = []string{"prog", "do", "x"}
	Main(testApp(func(ctx context.Context, env *Env) error {
		fmt.Fprintln(env.Stdout, "ready")
		<-ctx.Done()
		fmt.Fprintln(env.Stdout, "cancelled")
		if mode == "deaf" {
			select {}
		}
		return fmt.Errorf("stopped: %w", ctx.Err())
	}))
}

func TestSignals(t *testing.T) {
	for _, tc := range []struct {
		mode   string
		signal syscall.Signal
	}{{"polite", syscall.SIGINT}, {"polite", syscall.SIGTERM}, {"deaf", syscall.SIGINT}} {
		t.Run(tc.mode+" "+tc.signal.String(), func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			child := exec.CommandContext(t.Context(), self)
			child.Env = append(os.Environ(), childMode+"="+tc.mode)
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for _, want := range []string{"ready", "cancelled"} {
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("the child says %q, want %q", lines.Text(), want)
				}
				if want == "ready" || tc.mode == "deaf" {
					if err := child.Process.Signal(tc.signal); err != nil {
						t.Fatal(err)
					}
				}
			}
			var exit *exec.ExitError
			if err := child.Wait(); !errors.As(err, &exit) || exit.ExitCode() != ExitInterrupted {
				t.Errorf("the child ended with %v", err)
			}
		})
	}
}
