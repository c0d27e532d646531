package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/extract/catalogrun"
	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/spec"
)

func statusCommand(env *cli.Env) *cobra.Command {
	var (
		dir    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "status -d DIR",
		Short: "Show the trees of a boot directory",
		Long: `Status shows each tree below DIR: where it came from, which manifest is live,
since when, and whether its files still look as nbextract left them. It needs
no network, takes no lock and changes nothing.`,
		Example: "  nbextract status -d /var/lib/tftpboot",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			trees, err := recalled(cmd.Context(), dir, extract.Status)
			if err != nil {
				return err
			}
			if asJSON {
				return env.JSON(map[string]any{"trees": trees})
			}
			return printStatus(env, trees)
		},
	}
	dirFlag(cmd, &dir)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// recalled looks at the trees of a boot directory, and adds what runs over their catalogues
// remember of them, which is read first: looking can take long.
func recalled(ctx context.Context, dir string, look func(context.Context, string) ([]extract.TreeStatus, error)) ([]extract.TreeStatus, error) {
	state, err := catalogrun.ReadState(dir)
	if err != nil {
		return nil, err
	}
	trees, err := look(ctx, dir)
	state.Recall(trees)
	return trees, err
}

func printStatus(env *cli.Env, trees []extract.TreeStatus) error {
	table := tabwriter.NewWriter(env.Stdout, 0, 8, 2, ' ', 0)
	now := time.Now()
	fmt.Fprintln(table, "PATH\tPLATFORM\tDIGEST\tINSTALLED\tAGE\tLAST SUCCESS\tSTATE\tSOURCE")
	for _, t := range trees {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Path, label(t.Platform), shortDigest(t.Digest),
			moment(t.Installed), age(now.Sub(t.Installed)), moment(t.Succeeded), state(t), source(t))
	}
	return table.Flush()
}

// moment shows a time to the minute.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// age shows a span in the unit that says most.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dm", max(d, 0)/time.Minute)
}

// source is where a tree comes from.
func source(t extract.TreeStatus) string {
	if t.Release == "" {
		return label(t.Reference)
	}
	return label(t.Reference) + " " + label(t.Release)
}

func state(t extract.TreeStatus) string {
	s := "ok"
	if n := len(t.Problems); n > 0 {
		s = fmt.Sprintf("%d damaged", n)
	}
	if t.Pinned {
		s += ", pinned"
	}
	if !t.FailingSince.IsZero() {
		s += ", failing since " + moment(t.FailingSince)
	}
	return s
}

func verifyCommand(env *cli.Env) *cobra.Command {
	var (
		dir    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify -d DIR",
		Short: "Read every managed file again and compare it with its image",
		Long: `Verify reads every file that nbextract manages below DIR and compares it with
the image it came from. It changes nothing; the next pull repairs what it finds.

It exits with 3 when a file is missing or differs.`,
		Example: "  nbextract verify -d /var/lib/tftpboot",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			trees, err := recalled(cmd.Context(), dir, extract.Verify)
			if err != nil {
				return err
			}
			if asJSON {
				err = env.JSON(map[string]any{"trees": trees})
			} else {
				err = printProblems(env, trees)
			}
			if err != nil {
				return err
			}
			return verdictOf(trees)
		},
	}
	dirFlag(cmd, &dir)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printProblems(env *cli.Env, trees []extract.TreeStatus) error {
	for _, t := range trees {
		for _, p := range t.Problems {
			if _, err := fmt.Fprintf(env.Stdout, "%s: %s: %s\n", t.Path, label(p.Path), p.What); err != nil {
				return err
			}
		}
		if len(t.Problems) == 0 {
			if _, err := fmt.Fprintf(env.Stdout, "%s: %d files, %d bytes: ok\n", t.Path, t.Files, t.Bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// verdictOf makes an error of the problems that were found.
func verdictOf(trees []extract.TreeStatus) error {
	for _, t := range trees {
		if n := len(t.Problems); n > 0 {
			return spec.Refuse(spec.RuleDrift, "", "%d entries of %q are not as the image has them", n, t.Path)
		}
	}
	return nil
}
