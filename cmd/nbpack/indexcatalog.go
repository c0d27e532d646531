package main

import (
	"context"
	"fmt"
	"path"

	"github.com/spf13/cobra"

	"github.com/nbpack/nbpack/internal/cli"
	"github.com/nbpack/nbpack/internal/transport"
	"github.com/nbpack/nbpack/pack/index"
)

func indexCatalogCommand(env *cli.Env) *cobra.Command {
	var f indexFlags
	var o index.CatalogOptions
	cmd := &cobra.Command{
		Use:   "catalog [flags] INDEX [PATTERN...]",
		Short: "Gather the releases of a repository into one index",
		Long: `Put what the tags of INDEX's repository name into one index under INDEX, a catalog
index: its entries are the indexes and images of releases, named by their tags.
nbextract sync asks for this one tag and knows whether any release moved.

A PATTERN is as in shells: * ? [a-z]. Without one all tags are taken. Children of
an index that is taken, marks of removed entries and signatures are left out. The
index is made anew from what the tags name now; run it after each publication.
If it is as it was, nothing is written. Standard output is its digest.`,
		Example: `  nbpack index catalog registry.example/netboot:releases 'fedora-*' 'debian-1?'
  nbpack index catalog --exclude '*-rc*' registry.example/netboot:releases`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Tags, o.DryRun = args[1:], f.dryRun
			if len(o.Tags) == 0 {
				o.Tags = []string{"*"}
			}
			for _, p := range append(append([]string{}, o.Tags...), o.Exclude...) {
				if _, err := path.Match(p, ""); err != nil || p == "" {
					return cli.Usage("%q is no pattern", p)
				}
			}
			return f.withIndex(cmd.Context(), env, args[0], func(_ *transport.Client, repo *transport.Repository, ref transport.Reference) error {
				return f.catalog(cmd.Context(), env, repo, ref, o)
			})
		},
	}
	f.bindWrite(cmd)
	cmd.Flags().StringArrayVar(&o.Exclude, "exclude", nil, "`PATTERN` of tags to leave out")
	return cmd
}

// catalog makes the index and prints what it holds.
func (f *indexFlags) catalog(ctx context.Context, env *cli.Env, repo *transport.Repository, ref transport.Reference, o index.CatalogOptions) error {
	c, err := index.MakeCatalog(ctx, repo, ref.Tag, o)
	env.StopProgress()
	if err != nil {
		return fmt.Errorf("catalog index %q: %w", ref, err)
	}
	if f.json {
		return env.JSON(struct {
			Reference string `json:"reference"`
			*index.Catalog
		}{ref.String(), c})
	}
	if !f.dryRun {
		_, err := fmt.Fprintln(env.Stdout, c.Digest)
		return err
	}
	for _, r := range c.Releases {
		if _, err := fmt.Fprintln(env.Stdout, cli.OneLine(r.Name+" "+r.Digest.String())); err != nil {
			return err
		}
	}
	return nil
}
