package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/extract"
	"github.com/nbpack/nbpack/internal/bootdir"
	"github.com/nbpack/nbpack/internal/cli"
)

func rollbackCommand(env *cli.Env) *cobra.Command {
	var (
		o        extract.Options
		registry cli.RegistryFlags
		to       string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "rollback -d DIR [PATH]",
		Short: "Put the previous generation of a tree back",
		Long: `Rollback makes an earlier generation of the tree at PATH live again, in one
exchange, and pins the tree: pulls leave it alone until "nbextract unpin".
PATH may be left out where DIR holds one tree only.

Files are hashed before they count again. What turns out to be damaged is
fetched by digest from where the tree came from; otherwise no network is used.`,
		Example: `  nbextract rollback -d /var/lib/tftpboot fedora/42/amd64
  nbextract rollback -d /var/lib/tftpboot fedora/42/amd64 --to sha256:0d1c2b`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeTree,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := newClient(env, &registry, o.Dir)
			if err != nil {
				return err
			}
			defer client.Close()
			o.Log, o.Warn, o.Progress = env.Info, env.Warn, env.Progress()
			report, err := extract.Rollback(cmd.Context(), client, o, optionalPath(args), to)
			env.StopProgress()
			if err != nil {
				return err
			}
			all := &extract.Report{Trees: []extract.TreeReport{*report}}
			if asJSON {
				return env.JSON(all)
			}
			return printReport(env, all, o.DryRun)
		},
	}
	dirFlag(cmd, &o.Dir)
	jsonFlag(cmd, &asJSON)
	registry.Bind(cmd.Flags())
	cmd.Flags().StringVar(&to, "to", "", "`DIGEST`, or its beginning, of the generation to go back to (default: the one before)")
	cmd.Flags().IntVar(&o.Keep, "keep", bootdir.DefaultKeep, "`N` generations of a tree to keep, the live one counts")
	cmd.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would be done and change nothing")
	cmd.Flags().BoolVar(&o.AllowGap, "allow-gap", false, "accept a moment without a live path where the filesystem knows no other way")
	return cmd
}

func unpinCommand(env *cli.Env) *cobra.Command {
	var o extract.Options
	cmd := &cobra.Command{
		Use:     "unpin -d DIR [PATH]",
		Short:   "Let a tree follow its reference again after a rollback",
		Long:    `Unpin ends what rollback began: the next pull brings the tree at PATH up to date.`,
		Example: "  nbextract unpin -d /var/lib/tftpboot fedora/42/amd64",
		Args:    cobra.MaximumNArgs(1),

		ValidArgsFunction: completeTree,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Log = env.Info
			live, was, err := extract.Unpin(cmd.Context(), o, optionalPath(args))
			if err != nil {
				return err
			}
			verb := "unpinned"
			if !was {
				verb = "was not pinned"
			}
			_, err = fmt.Fprintf(env.Stdout, "%s %s\n", live, verb)
			return err
		},
	}
	dirFlag(cmd, &o.Dir)
	return cmd
}

func pruneCommand(env *cli.Env) *cobra.Command {
	var o extract.Options
	cmd := &cobra.Command{
		Use:   "prune -d DIR",
		Short: "Remove old generations",
		Long: `Prune removes generations that are neither live nor among the newest --keep of
their tree and that were superseded more than 24 hours ago. Pull does the same
after each update.`,
		Example: "  nbextract prune -d /var/lib/tftpboot --keep 1",
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Keep < 1 {
				return cli.Usage("--keep is at least 1, not %d", o.Keep)
			}
			o.Log = env.Info
			removed, err := extract.Prune(cmd.Context(), o)
			if err != nil {
				return err
			}
			for _, digest := range removed {
				if _, err := fmt.Fprintf(env.Stdout, "removed %s\n", digest); err != nil {
					return err
				}
			}
			return nil
		},
	}
	dirFlag(cmd, &o.Dir)
	cmd.Flags().IntVar(&o.Keep, "keep", bootdir.DefaultKeep, "`N` generations of a tree to keep, the live one counts")
	return cmd
}
