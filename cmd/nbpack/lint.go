package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/bootcheck"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack"
	"github.com/nbpack/nbpack/spec"
)

// lintResult is what "nbpack lint --json" prints.
type lintResult struct {
	Reference  string           `json:"reference,omitempty"`
	Digest     digest.Digest    `json:"digest,omitempty"`   // of the manifest that was read
	Platform   string           `json:"platform,omitempty"` // of an entry of an index
	Errors     int              `json:"errors"`
	Warnings   int              `json:"warnings"`
	Violations []spec.Violation `json:"violations"`
	// Entries are the boot sets of an index.
	Entries []lintResult `json:"entries,omitempty"`
}

// count adds up the violations of an image, or of an index and what is in it.
func (r *lintResult) count() {
	for _, v := range r.Violations {
		switch v.Severity {
		case spec.SeverityWarning:
			r.Warnings++
		case bootcheck.SeverityInfo:
		default: // anything else counts as an error
			r.Errors++
		}
	}
	for i := range r.Entries {
		r.Entries[i].count()
		r.Errors += r.Entries[i].Errors
		r.Warnings += r.Entries[i].Warnings
	}
}

// lintError ends the command when there are errors.
type lintError struct {
	what   string
	errors int
}

func (e *lintError) Error() string {
	if e.errors == 1 {
		return "the " + e.what + " breaks 1 rule that it has to keep"
	}
	return fmt.Sprintf("the %s breaks %d rules that it has to keep", e.what, e.errors)
}

func (e *lintError) ExitCode() int { return cli.ExitRefused }

func lintCommand(env *cli.Env) *cobra.Command {
	var flags cli.RegistryFlags
	var asJSON bool
	var platform string
	cmd := &cobra.Command{
		Use:   "lint [flags] IMAGE|DIR",
		Short: "Check an image or a directory against the rules of the format and of booting",
		Long: `Read every byte of a netboot image or artifact, or of a directory with boot files,
and print what is wrong with it, one line each:

  error ID "FILE": what is wrong     nbextract refuses it, or it does not boot
  warning ID "FILE": what is odd     some machines do not boot it, or nbpack
                                     writes it otherwise
  info ID "FILE": what there is      for example versions, and what could not be
                                     looked at

Looked at are the rules of the format, the version of the kernel and of the
modules in the initrd, the machine that programs are for, shim and the second stage
that it asks for, signatures and SBAT generations, names and modes. docs/lint.md
explains each ID. With --json each finding has a remedy, too.

A directory is judged as the image that "nbpack build" makes of it, and whether a
boot server could serve it as it is. If it has a SHA256SUM, as a boot tree of
nbextract, its files have to be those that are listed there.

Of an index, the rules about its entries are checked, and every boot set in it;
behind the ID of these stand the platform and the digest of the entry. Containers and
disks are looked at, but not read.

The exit code is 3 if there is an error, 0 if there are only warnings.`,
		Example: `  nbpack lint registry.example/netboot:debian-12
  nbpack lint --json oci:./layout:test
  nbpack lint --platform linux/amd64 ./netboot`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, statErr := os.Stat(args[0])
			switch {
			case statErr == nil && info.IsDir():
				return lintDir(cmd, env, args[0], platform, asJSON)
			case statErr == nil:
				return errLintFile(args[0])
			case isPath(args[0]):
				return &noDirError{args[0]}
			}
			if platform != "" {
				return cli.Usage("--platform is for directories: an image says itself what it is for")
			}
			if _, err := transport.ParseReference(args[0]); err != nil && os.IsNotExist(statErr) {
				return cli.WithHint(err, "an image is HOST/REPOSITORY:TAG, and no directory is called so either")
			}
			return withSource(cmd, env, &flags, args[0], func(ref transport.Reference, src transport.Source) error {
				return lint(cmd, env, ref, src, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "`OS/ARCH[/VARIANT]` that the files of a directory are for (default: what they say)")
	cli.Platforms(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	flags.Bind(cmd.Flags())
	return cmd
}

// errLintFile refuses a single file: what it boots with is not known.
func errLintFile(name string) error {
	return cli.WithHint(cli.Usage("%q is a file, neither an image nor a directory", name),
		"name the directory that it lies in; an archive of an image is oci-archive:FILE")
}

// isPath tells what no image can be called.
func isPath(name string) bool {
	return name == "." || name == ".." || strings.HasPrefix(name, "/") || strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../")
}

// noDirError is a directory that does not exist.
type noDirError struct{ name string }

func (e *noDirError) Error() string { return fmt.Sprintf("no directory %q", e.name) }
func (e *noDirError) ExitCode() int { return cli.ExitNotFound }

func lint(cmd *cobra.Command, env *cli.Env, ref transport.Reference, src transport.Source, asJSON bool) error {
	r, err := lintAny(cmd.Context(), ref, src)
	if err != nil {
		return err
	}
	return printLint(env, "image", r, asJSON)
}

// lintDir checks a directory with boot files.
func lintDir(cmd *cobra.Command, env *cli.Env, dir, platform string, asJSON bool) error {
	o := pack.Options{Log: env.Debug, Progress: env.Progress()}
	if platform != "" {
		var err error
		if o.Platform, err = spec.ParsePlatform(platform); err != nil {
			return cli.Usage("--platform: %w", err)
		}
	}
	report, err := pack.LintDir(cmd.Context(), dir, o)
	if err != nil {
		return err
	}
	return printLint(env, "directory", &lintResult{Reference: dir, Violations: report.Violations}, asJSON)
}

// printLint prints a result; errors in it end the command.
func printLint(env *cli.Env, what string, r *lintResult, asJSON bool) error {
	env.StopProgress()
	r.count()
	var err error
	if asJSON {
		err = env.JSON(r)
	} else {
		_, err = fmt.Fprint(env.Stdout, r.lines())
	}
	if err == nil && r.Errors > 0 {
		return &lintError{what, r.Errors}
	}
	return err
}

// lines shows the violations to people, those of entries after those of an index.
func (r *lintResult) lines() string {
	out := violationLines("", r.Violations)
	for _, e := range r.Entries {
		out += violationLines(strings.TrimSpace(e.Platform+" "+e.Digest.String())+": ", e.Violations)
	}
	return out
}

func violationLines(of string, violations []spec.Violation) string {
	var out strings.Builder
	for _, v := range violations {
		line := fmt.Sprintf("%s %s %s%s", v.Severity, v.Rule, of, v.Message)
		if v.Path != "" {
			line = fmt.Sprintf("%s %s %s%q: %s", v.Severity, v.Rule, of, v.Path, v.Message)
		} else if of == "" {
			line = fmt.Sprintf("%s %s: %s", v.Severity, v.Rule, v.Message)
		}
		out.WriteString(cli.OneLine(line) + "\n")
	}
	return out.String()
}
