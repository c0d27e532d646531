package main

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
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
		if v.Severity == spec.SeverityWarning {
			r.Warnings++
		} else {
			r.Errors++
		}
	}
	for i := range r.Entries {
		r.Entries[i].count()
		r.Errors += r.Entries[i].Errors
		r.Warnings += r.Entries[i].Warnings
	}
}

// lintError ends the command when the image has errors.
type lintError struct{ errors int }

func (e *lintError) Error() string {
	if e.errors == 1 {
		return "the image breaks 1 rule that consumers insist on"
	}
	return fmt.Sprintf("the image breaks %d rules that consumers insist on", e.errors)
}

func (e *lintError) ExitCode() int { return cli.ExitRefused }

func lintCommand(env *cli.Env) *cobra.Command {
	var flags cli.RegistryFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint [flags] IMAGE",
		Short: "Check an image against every rule of the format",
		Long: `Read every byte of a netboot image or artifact and print each rule of the format
that it breaks, one line each:

  error RULE "FILE": what is wrong      nbextract refuses such an image
  warning RULE "FILE": what is odd      nbpack writes it otherwise

An image that nbpack built gives no line. The rules are explained in the
specification, spec/netboot.md.

Of an index, the rules about its entries are checked, and every boot set in it;
their lines begin with the platform and the digest of the entry. Containers and
disks are looked at, but not read.

The exit code is 3 if there is an error, 0 if there are only warnings.`,
		Example: `  nbpack lint registry.example/netboot:debian-12
  nbpack lint --json oci:./layout:test`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withSource(cmd, env, &flags, args[0], func(ref transport.Reference, src transport.Source) error {
				return lint(cmd, env, ref, src, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	flags.Bind(cmd.Flags())
	return cmd
}

func lint(cmd *cobra.Command, env *cli.Env, ref transport.Reference, src transport.Source, asJSON bool) error {
	r, err := lintAny(cmd.Context(), ref, src)
	if err != nil {
		return err
	}
	env.StopProgress()
	r.count()
	if asJSON {
		err = env.JSON(r)
	} else {
		_, err = fmt.Fprint(env.Stdout, r.lines())
	}
	if err == nil && r.Errors > 0 {
		return &lintError{r.Errors}
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
