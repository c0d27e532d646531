package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// prepare gives a command tree what both programs have in common, and returns a
// flag that is set as soon as a command's own code runs: what fails before that
// is a mistake on the command line. ready is called at the same moment, when the
// global flags are known.
func prepare(root *cobra.Command, env *Env, ready func(*Env)) *bool {
	started := new(bool)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.SuggestionsMinimumDistance = 2
	root.Version = Version()
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	global := root.PersistentFlags()
	global.BoolVarP(&env.quiet, "quiet", "q", false, "print no messages but errors and warnings, and no progress")
	global.Var(levelValue{&env.level}, "log-level", "print messages of `LEVEL` and worse: error, warn, info, debug")
	Values(root, "log-level", levelNames...)
	root.AddCommand(versionCommand(env, root.Name()), manCommand(root))
	root.InitDefaultCompletionCmd()
	begin := func(cmd *cobra.Command) {
		*started = true
		if env.quiet {
			env.level = min(env.level, levelWarn)
		}
		ready(env)
		warnReadable(cmd, env)
	}
	walk(root, func(cmd *cobra.Command) { dress(cmd, begin) })
	return started
}

// walk calls f for cmd and everything below it.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, f)
	}
}

// dress makes a command without code of its own refuse to do nothing, and puts
// begin before the code of the others.
func dress(cmd *cobra.Command, begin func(*cobra.Command)) {
	switch run, runE := cmd.Run, cmd.RunE; {
	case runE != nil:
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			begin(cmd)
			return runE(cmd, args)
		}
	case run != nil:
		cmd.Run = func(cmd *cobra.Command, args []string) {
			begin(cmd)
			run(cmd, args)
		}
	case cmd.HasSubCommands():
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = missingCommand
	}
	cmd.DisableFlagsInUseLine = true
}

// missingCommand is the code of a command that only groups others.
func missingCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return Usage("%s needs a command", cmd.CommandPath())
	}
	err := Usage("%s has no command %q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return WithHint(err, "did you mean "+strings.Join(near, " or ")+"?")
	}
	return err
}

// asUsage makes a usage error of what cobra complains about, with a hint to the
// help of the command that was meant.
func asUsage(err error, cmd *cobra.Command) error {
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		err = wanted(invalid)
	}
	if ExitCode(err) == ExitFailed {
		err = Usage("%w", err)
	}
	if Hint(err) != "" {
		return err
	}
	return WithHint(err, fmt.Sprintf("see %s --help", cmd.CommandPath()))
}

// wanted says what a flag wants where the library says how it was read.
func wanted(err *pflag.InvalidValueError) error {
	var number *strconv.NumError
	var what string
	switch kind := err.GetFlag().Value.Type(); {
	case kind == "duration":
		what = "a time such as 30s, 5m or 24h"
	case !errors.As(err, &number):
		return err // a flag of ours
	case kind == "bool":
		what = "true or false"
	default:
		what = "a whole number"
	}
	return Usage("invalid argument %q for \"--%s\" flag: want %s", err.GetValue(), err.GetFlag().Name, what)
}
