package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/extract/metrics"
	"github.com/nbpack/nbpack/internal/catalog"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/hooks"
)

// hookFlags are the programs that a command line names.
type hookFlags struct {
	given   []string
	timeout time.Duration
}

func (h *hookFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&h.given, "hook", nil, "`EVENT=PROGRAM` to run at pre-commit (may veto), post-commit or failed; with arguments as a JSON list")
	cli.Keys(cmd, "hook", extract.EventPreCommit, extract.EventPostCommit, extract.EventFailed)
	f.DurationVar(&h.timeout, "hook-timeout", hooks.DefaultTimeout, "`TIME` that a hook may take")
}

// parse gives the hooks; nil where there are none.
func (h *hookFlags) parse(env *cli.Env) (extract.Hooks, error) {
	if h.timeout <= 0 {
		return nil, cli.Usage("--hook-timeout is longer than nothing, not %v", h.timeout)
	}
	if len(h.given) == 0 {
		return nil, nil
	}
	p := extract.HookPrograms{Timeout: h.timeout, Log: env.Info, Warn: env.Warn}
	places := map[string]*[]string{
		extract.EventPreCommit: &p.PreCommit, extract.EventPostCommit: &p.PostCommit, extract.EventFailed: &p.Failed,
	}
	for _, given := range h.given {
		event, program, _ := strings.Cut(given, "=")
		place := places[event]
		if place == nil {
			return nil, cli.Usage("--hook wants pre-commit=, post-commit= or failed=, not %q", given)
		}
		if len(*place) > 0 {
			return nil, cli.Usage("--hook %s= is given twice; let one program run the others", event)
		}
		argv, err := hookArgv(program)
		if err != nil {
			return nil, cli.Usage("--hook %s: %w", event, err)
		}
		*place = argv
	}
	return extract.NewHooks(p), nil
}

// hookArgv reads a program: its path, or a JSON list with its arguments. The
// text is never cut at spaces, for then somebody would have to unquote it.
func hookArgv(program string) ([]string, error) {
	argv := []string{program}
	if strings.HasPrefix(program, "[") {
		argv = nil
		if err := json.Unmarshal([]byte(program), &argv); err != nil {
			return nil, cli.Usage("%q is no JSON list of texts: %v", program, err)
		}
	}
	if len(argv) == 0 || !strings.HasPrefix(argv[0], "/") {
		return nil, cli.WithHint(cli.Usage("want the absolute path of a program, not %q", program),
			`a program with arguments is written as a list: '["/bin/sh","-c","…"]'`)
	}
	return argv, nil
}

// catalogHooks runs the programs that a catalogue names.
func catalogHooks(env *cli.Env, h *catalog.Hooks) extract.Hooks {
	return extract.NewHooks(extract.HookPrograms{
		PreCommit: h.PreCommit, PostCommit: h.PostCommit, Failed: h.Failed, Timeout: h.Timeout.Or(hooks.DefaultTimeout),
		Log: env.Info, Warn: env.Warn,
	})
}

// writeMetrics writes the metrics of a run, if that is wanted. What was done
// stays done when it fails.
func writeMetrics(env *cli.Env, file string, r *catalogrun.Report, entries []catalog.Entry) {
	if file == "" {
		return
	}
	if err := metrics.Write(file, r, entries); err != nil {
		env.Warn("%v", err)
	}
}
