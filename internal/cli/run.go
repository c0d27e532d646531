package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	_ "github.com/nbpack/nbpack/internal/collector" // before libraries compile their expressions
)

// App is a command line program.
type App struct {
	Name string                    // as it is called: nbpack
	Root func(*Env) *cobra.Command // makes the whole command tree, once for each run
}

// Main runs the program with the arguments and the standard streams of the
// process and ends it. The first SIGINT or SIGTERM cancels the context of the
// command, which then cleans up and ends with 130; the second ends at once.
func Main(app App) {
	if reexecuted() {
		os.Exit(ExitDone)
	}
	os.Exit(runWithSignals(app))
}

func runWithSignals(app App) int {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		watch(signals, done, cancel)
	}()
	defer func() {
		signal.Stop(signals)
		close(done)
		<-joined
		cancel()
	}()
	return run(ctx, app, os.Args[1:], os.Stdout, os.Stderr, tameLibraries)
}

// watch turns the first signal into a cancellation and the second into the end
// of the process: whoever asks twice does not want to wait for the cleaning up.
func watch(signals <-chan os.Signal, done <-chan struct{}, cancel func()) {
	for seen := 0; ; seen++ {
		select {
		case <-done:
			return
		case <-signals:
			if seen > 0 {
				os.Exit(ExitInterrupted)
			}
			cancel()
		}
	}
}

// Run runs the program with the given arguments (without its name) and returns
// its exit code. It is Main without the process around it, for tests.
func Run(ctx context.Context, app App, args []string, stdout, stderr io.Writer) int {
	return run(ctx, app, args, stdout, stderr, func(*Env) {})
}

func run(ctx context.Context, app App, args []string, stdout, stderr io.Writer, ready func(*Env)) int {
	env := &Env{Name: app.Name, Stdout: stdout, Stderr: stderr, level: levelInfo}
	defer env.StopProgress()
	root := app.Root(env)
	root.SetArgs(args)
	root.SetOut(stdout) // before prepare: the completion command keeps it
	root.SetErr(stderr)
	started := prepare(root, env, ready)
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		plainUsages(root)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitDone
	}
	env.StopProgress()
	if !*started {
		err = asUsage(err, cmd)
	}
	// Whatever a cancelled command says went wrong, it went wrong because of
	// the signal.
	if ctx.Err() != nil && *started {
		env.line("error: interrupted")
		env.Debug("%v", err)
		return ExitInterrupted
	}
	env.fail(err)
	return ExitCode(err)
}
